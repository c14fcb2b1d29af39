"""Conversion of annotations of every format: the labels, what is told, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from annotation_files import FOLDERS, FRAMES, FULL_SCENE, SCENE, coco, images, mask, write
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.datasets import load_dataset
from keras_crosscbam.doctor import examine


def all_labels(out):
    """The labels of each image by its name, whatever its split."""
    labels = {}
    for split in sorted(path.name for path in (out / "images").iterdir()):
        if (out / "masks" / split).is_dir():
            data = load_dataset(out, split)
            labels |= {data.pairs[i][0].stem: data[i][1] for i in range(len(data))}
    return labels


@pytest.mark.parametrize("case", FOLDERS)
def test_every_format(case, tmp_path):
    """The folder is recognized, and the labels are those of the scene, pixel by pixel."""
    make, name = FOLDERS[case]
    expected = make(tmp_path / "in")
    result = kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    assert result.format == name
    labels = all_labels(tmp_path / "out")
    assert len(labels) >= len(FRAMES)
    for array in labels.values():
        np.testing.assert_array_equal(array, expected)
    assert examine(tmp_path / "out").ok
    files = [path for path in tmp_path.iterdir() if path.name not in ("in", "out")]
    assert files == []
