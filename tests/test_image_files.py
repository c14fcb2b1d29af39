"""Every image of a folder is found: behind links, at any depth, and never a hidden one."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_crosscbam.datasets import load_dataset, split_images
from keras_crosscbam.datasets.classification import load_image_folders
from keras_crosscbam.image_files import image_files, image_files_below, subfolders
from keras_crosscbam.segmentation import segment_files

IMAGE = np.zeros((4, 6, 3), np.uint8)
BONN, ULM = "bonn/bonn_000000_000019", "ulm/ulm_000000_000019"


def save(path, array=IMAGE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def names_below(folder):
    return [path.relative_to(folder).as_posix() for path in image_files_below(folder)]


def test_links_to_files_and_folders_are_followed(tmp_path):
    save(tmp_path / "elsewhere/town/a.png")
    save(tmp_path / "elsewhere/b.jpg")
    folder = tmp_path / "images"
    save(folder / "c.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "d.jpg").symlink_to(tmp_path / "elsewhere/b.jpg")
    assert names_below(folder) == ["c.png", "d.jpg", "linked/b.jpg", "linked/town/a.png"]


def test_two_links_to_one_folder_are_two_folders(tmp_path):
    save(tmp_path / "elsewhere/a.png")
    (tmp_path / "images").mkdir()
    for name in "xy":
        (tmp_path / "images" / name).symlink_to(tmp_path / "elsewhere")
    assert names_below(tmp_path / "images") == ["x/a.png", "y/a.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "../other"])
def test_a_link_to_a_folder_around_it_ends(tmp_path, target):
    """Whether it leads straight to such a folder, or by a folder whose link leads back."""
    folder = tmp_path / "images" / "town"
    save(folder / "a.png")
    save(tmp_path / "images" / "other" / "b.png")
    (tmp_path / "images" / "other" / "back").symlink_to(folder)
    (folder / "link").symlink_to(target)
    names = names_below(folder)
    assert names[0] == "a.png"
    assert len(names) == len({os.path.realpath(folder / name) for name in names})


def test_a_link_to_itself_is_reported_as_missing(tmp_path):
    (tmp_path / "a.png").symlink_to("a.png")
    assert image_files_below(tmp_path) == image_files(tmp_path) == [tmp_path / "a.png"]


def test_a_missing_folder_holds_nothing_and_a_link_to_one_is_listed(tmp_path):
    assert image_files_below(tmp_path / "nowhere") == []
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert image_files_below(tmp_path / "link") == [tmp_path / "link"]


def test_unreadable_folders_are_named(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    for find in (image_files, image_files_below, subfolders):
        with pytest.raises(ValueError, match=r"test_unr.*: not readable \(Permission denied\)"):
            find(tmp_path)


# Hidden files


def test_what_macos_writes_beside_a_photo_is_passed_over(small_network, tmp_path):
    save(tmp_path / "photos/photo.jpg")
    (tmp_path / "photos/._photo.jpg").write_bytes(b"\0\5\x16\7")
    assert image_files(tmp_path / "photos") == [tmp_path / "photos/photo.jpg"]
    (result,) = segment_files(small_network, tmp_path / "photos", tmp_path / "out", size=32)
    assert result.error is None


def test_a_folder_of_hidden_files_holds_no_images(tmp_path):
    (tmp_path / "._photo.jpg").write_bytes(b"\0\5\x16\7")
    with pytest.raises(ValueError, match="the folder contains no images"):
        image_files(tmp_path)


def test_hidden_files_among_images_by_class(tmp_path):
    for name in ("cat/a.png", "dog/b.png"):
        save(tmp_path / "train" / name)
    (tmp_path / "train/cat/._a.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "train/._cat").write_bytes(b"\0\5\x16\7")
    assert [path.name for path, _ in load_image_folders(tmp_path, "train").files] == [
        "a.png",
        "b.png",
    ]


# Links that lead nowhere


def test_a_link_to_a_missing_photo_is_reported(network, tmp_path):
    save(tmp_path / "photos/b.png")
    (tmp_path / "photos/a.png").symlink_to(tmp_path / "gone.png")
    broken, sound = segment_files(network, tmp_path / "photos", tmp_path / "out", size=32)
    assert broken.error == f"{tmp_path / 'photos/a.png'}: no such file"
    assert sound.error is None


def test_a_link_to_a_missing_class_is_reported(tmp_path):
    for name in ("cat/a.png", "dog/b.png"):
        save(tmp_path / "train" / name)
    (tmp_path / "train/bird").symlink_to("/gone")
    with pytest.raises(ValueError, match="train/bird: a link to /gone, which does not exist"):
        load_image_folders(tmp_path, "train")


def test_a_linked_class_counts(tmp_path):
    save(tmp_path / "train/cat/a.png")
    save(tmp_path / "elsewhere/b.png")
    (tmp_path / "train/dog").symlink_to(tmp_path / "elsewhere")
    data = load_image_folders(tmp_path, "train")
    assert data.classes == ("cat", "dog")
    assert data.files == ((tmp_path / "train/cat/a.png", 0), (tmp_path / "train/dog/b.png", 1))


# Published layouts


def cityscapes(root, frames):
    for name in frames:
        save(root / f"leftImg8bit/val/{name}_leftImg8bit.png")
        save(root / f"gtFine/val/{name}_gtFine_labelIds.png", np.full((4, 6), 7, np.uint8))
    return root


def test_linked_cities(tmp_path):
    root = cityscapes(tmp_path / "cityscapes", [ULM])
    other = cityscapes(tmp_path / "other", [BONN])
    for folder in ("leftImg8bit", "gtFine"):
        (root / folder / "val/bonn").symlink_to(other / folder / "val/bonn")
    assert [image.parent.name for image, _ in load_dataset(root, "val").pairs] == ["bonn", "ulm"]


def test_a_link_to_a_missing_city_is_reported(tmp_path):
    root = cityscapes(tmp_path, [ULM])
    for folder in ("leftImg8bit", "gtFine"):
        (root / folder / "val/bonn").symlink_to("/gone")
    with pytest.raises(ValueError, match="val/bonn: no such file"):
        load_dataset(root, "val")[-1]


def test_the_original_camvid_in_linked_folders_by_drive(tmp_path):
    save(tmp_path / "drive/0016E5_07959.png")
    save(tmp_path / "labels/0016E5_07959_L.png")
    for folder, source in (("701_StillsRaw_full", "drive"), ("LabeledApproved_full", "labels")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0016E5").symlink_to(tmp_path / source)
        (tmp_path / folder / "Thumbs.db").write_bytes(b"")
        (tmp_path / folder / "._0016E5_07959.png").write_bytes(b"\0\5\x16\7")
    assert [path.name for path in split_images(tmp_path, "val")] == ["0016E5_07959.png"]
    assert len(load_dataset(tmp_path, "val")) == 1
