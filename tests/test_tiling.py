"""Images in tiles, beside the network on the whole image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.classes import ClassTable
from keras_crosscbam.confidence import assess
from keras_crosscbam.images import STREET
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.description import Description
from keras_crosscbam.runtime.probabilities import softmax
from keras_crosscbam.segmentation import segment_files

TABLE = ClassTable(tuple("abc"), ((200, 0, 0), (0, 200, 0), (0, 0, 200)))
KERNEL = np.random.default_rng(2).normal(size=(3, 3)).astype(np.float32)


class Local(Runtime):
    """Scores from the colors of each pixel and of its neighbors up to `reach` away."""

    def __init__(self, reach=0, size=None, batch=None, output="logits"):
        super().__init__(
            "local", size, 3, TABLE, batch=batch, description=Description(output=output)
        )
        self.reach, self.shapes = reach, []

    def run(self, prepared):
        self.shapes.append(prepared.shape)
        pixels = np.pad(prepared, [(0, 0), *[(self.reach, self.reach)] * 2, (0, 0)], mode="edge")
        height, width = prepared.shape[1:3]
        total = sum(
            pixels[:, dy : dy + height, dx : dx + width]
            for dy in range(2 * self.reach + 1)
            for dx in range(2 * self.reach + 1)
        )
        return (total / 255 - 0.5 * (2 * self.reach + 1) ** 2) @ KERNEL


def picture(height, width):
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.data(),
)
def test_where_neighbors_do_not_matter_tiles_equal_the_whole(size, tile, data):
    overlap = data.draw(st.integers(0, min(tile) - 1))
    batch = data.draw(st.integers(1, 4))
    image, run = picture(*size), Local()
    tiled = kc.Tiled(run, tile, overlap, batch)
    expected = Local().scores(image)
    np.testing.assert_allclose(tiled.scores(image), expected, atol=1e-4)
    assert set(run.shapes) <= {(n, *tile, 3) for n in range(1, batch + 1)}
    best = np.sort(expected, axis=-1)
    sure = best[..., -1] - best[..., -2] > 1e-3
    for labels in (tiled(image), tiled.assess(image).labels):
        np.testing.assert_array_equal(labels[sure], expected.argmax(-1)[sure])


def test_centers_of_tiles_equal_the_whole():
    """What lies further from a tile's border than the network sees does not know of tiles."""
    image, tiled = picture(96, 150), kc.Tiled(Local(reach=2), (32, 40), overlap=8)
    whole, parts = Local(reach=2).scores(image), tiled.scores(image)
    # Tiles begin at every 24th row and every 32nd column, the last ones at the end.
    rows = np.concatenate([np.arange(top + 8, top + 24) for top in (0, 24, 48, 64)])
    columns = np.concatenate([np.arange(left + 8, left + 32) for left in (0, 32, 64)])
    inside = np.ix_(rows[rows < 64], columns)
    np.testing.assert_allclose(parts[inside], whole[inside], atol=1e-4)
    # Blended seams are closer to the whole than those of tiles side by side.
    hard = kc.Tiled(Local(reach=2), (32, 40), overlap=0).scores(image)
    assert np.abs(parts - whole).mean() < np.abs(hard - whole).mean()


def test_weights_fall_towards_the_borders():
    """Two tiles that say different things: from the one to the other in a straight line."""

    class Left(Local):
        def run(self, prepared):
            share = (prepared[:, :1, :1, :1] > 0).astype(np.float32)
            return np.broadcast_to(share * [1, 0, 0], (*prepared.shape[:3], 3)).astype(np.float32)

    image = np.zeros((4, 17, 3), np.uint8)
    image[:, 0] = 255
    scores = kc.Tiled(Left(), (4, 10), overlap=3).scores(image)[0, :, 0]
    np.testing.assert_allclose(scores[[0, 5, 6]], 1, atol=1e-6)
    np.testing.assert_allclose(scores[[10, 15]], 0, atol=1e-6)
    assert (np.diff(scores) <= 1e-6).all()
    np.testing.assert_allclose(scores[7:10], [0.75, 0.5, 0.25], atol=1e-6)


def test_network_of_fixed_size_and_batch():
    run = Local(size=(16, 24), batch=2)
    image = picture(40, 50)
    tiled = kc.Tiled(run, overlap=4)
    np.testing.assert_allclose(tiled.scores(image), Local().scores(image), atol=1e-4)
    assert set(run.shapes) == {(2, 16, 24, 3)}
    # A smaller image is extended, not enlarged.
    np.testing.assert_array_equal(tiled(picture(5, 7)), Local()(picture(5, 7)))


def test_probabilities_stay_probabilities():
    class Probable(Local):
        def run(self, prepared):
            return softmax(super().run(prepared))

    image = picture(30, 40)
    scores = kc.Tiled(Probable(reach=1, output="probabilities"), (16, 16), 6).scores(image)
    np.testing.assert_allclose(scores.sum(axis=-1), 1, atol=1e-5)


def test_with_another_size():
    image, tiled = picture(30, 40), kc.Tiled(Local(), (16, 16), 4)
    np.testing.assert_allclose(tiled.scores(image, 45), Local().scores(image, 45), atol=1e-4)
    labels, probability, _ = tiled.assess(image, 45, threshold=0.6)
    expected = assess(Local().scores(image, 45), threshold=0.6)
    assert (labels == expected.labels).mean() > 0.999
    np.testing.assert_allclose(probability, expected.probability, atol=1e-4)


def test_files(tmp_path):
    Image.fromarray(picture(50, 60)).save(tmp_path / "a.png")
    tiled = kc.Tiled(Local(), (16, 24), 4)
    options = {"confidence": True, "threshold": 0.5}
    (result,) = segment_files(tiled, tmp_path / "a.png", tmp_path / "out", **options)
    assert result.error is None
    labels = np.asarray(Image.open(tmp_path / "out" / "a_labels.png"))
    expected = kc.segment(Local(), tmp_path / "a.png", threshold=0.5)
    assert (labels == expected).mean() > 0.999
    assert (tmp_path / "out" / "a_entropy.png").is_file()
    np.testing.assert_array_equal(kc.segment(tiled, tmp_path / "a.png"), tiled(picture(50, 60)))


def test_real_network_in_tiles(network):
    """A tile that holds the whole image changes nothing."""
    image = np.asarray(Image.open(STREET).resize((128, 96)))
    whole = kc.segment(network, image)
    np.testing.assert_array_equal(kc.segment(kc.Tiled(network, (96, 128)), image), whole)
    assert kc.segment(kc.Tiled(network, (64, 96), overlap=32), image).shape == (96, 128)


def test_memory_is_that_of_one_row_of_tiles(monkeypatch):
    """The scores of the whole image would be 40 times as large as the largest array made."""
    sizes = []
    zeros = np.zeros

    def noted(shape, dtype=float, **kwargs):
        sizes.append(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return zeros(shape, dtype, **kwargs)

    image, tiled = picture(640, 64), kc.Tiled(Local(), (16, 32), overlap=4)
    monkeypatch.setattr(np, "zeros", noted)
    tiled.predict(image)
    assert max(sizes) <= 16 * 64 * 3 * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((16, 24), 16), r"`overlap` must be a number of pixels from 0 to 15.* Received: 16"),
        (((16, 24), -1), r"`overlap` must be"),
        (((16, 24), 1.5), r"`overlap` must be"),
        (((16,), 1), r"`tile` must be \(height, width\)"),
        (((0, 24), 0), r"`tile` must be"),
        ((None, 4), r"local takes any size: say which `tile`"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kc.Tiled(Local(), *arguments)


def test_networks_that_do_not_fit():
    with pytest.raises(ValueError, match="local is fixed to 16x24"):
        kc.Tiled(Local(size=(16, 24)), (32, 48))
    with pytest.raises(ValueError, match="local gives labels, not scores"):
        kc.Tiled(Local(output="labels"), (32, 48))
