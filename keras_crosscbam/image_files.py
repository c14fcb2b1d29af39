"""Which image files a folder holds: links are followed, hidden files are passed over."""

import os
from pathlib import Path

from keras_crosscbam.image_channels import ARRAY
from keras_crosscbam.images import EXTENSIONS


def image_files(source, arrays=False):
    """The image files that a path stands for: itself, or those directly in the folder.

        >>> from keras_crosscbam.image_files import image_files
        >>> from keras_crosscbam.images import ASSETS
        >>> [file.name for file in image_files(ASSETS)]
        ['street.jpg']

    Hidden files, such as the `._photo.jpg` that macOS writes beside `photo.jpg`, are passed over.
    A link to a missing image is in the list, so that whoever reads it reports it.

    Args:
        source: path of an image or a folder.
        arrays: whether `.npy` files are images too.

    Returns:
        A list of paths, in the order of their names.

    Raises:
        ValueError: if the source does not exist or is not readable, or is a folder without images.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ValueError(f"{source}: no such file or folder")
    files = [path for path in visible_files(source) if _is_image(path, arrays)]
    if not files:
        raise ValueError(f"{source}: the folder holds no images")
    return files


def image_files_below(folder, arrays=False):
    """The image files of a folder and its subfolders, those behind links included.

    A link to a folder that it lies in is not followed, since that would not end. A link that leads
    nowhere is in the list whatever its name: it may stand for a folder of images.

    Args:
        folder: path of a folder; a missing one holds nothing.
        arrays: whether `.npy` files are images too.

    Returns:
        A list of paths.

    Raises:
        ValueError: for a folder that is not readable.
    """
    folder = Path(folder)
    if is_broken_link(folder):
        return [folder]
    return [path for path in files_below(folder) if _is_image(path, arrays) or is_broken_link(path)]


def files_below(folder):
    """All files of a folder and its subfolders, with links as in `image_files_below`, a list."""
    folder = Path(folder)
    return list(_below(folder, outer=())) if folder.is_dir() else []


def _below(folder, outer):
    real = os.path.realpath(folder)
    if real in outer:
        return
    for path in visible_files(folder):
        if path.is_dir():
            yield from _below(path, (*outer, real))
        else:
            yield path


def subfolders(folder):
    """The names of the folders in a folder, those behind links included, in order.

    Raises:
        ValueError: for a folder that is not readable, and a link that leads nowhere.
    """
    folder = Path(folder)
    paths = visible_files(folder) if folder.is_dir() else []
    for path in filter(is_broken_link, paths):
        raise ValueError(f"{path}: {describe_broken_link(path)}")
    return [path.name for path in paths if path.is_dir()]


def is_broken_link(path):
    """Whether a path is a symbolic link to something that is not there."""
    return path.is_symlink() and not path.exists()


def describe_broken_link(path):
    """What is wrong with a link that leads nowhere."""
    return f"a link to {os.readlink(path)}, which is not there; mend the link or remove it"


def visible_files(folder):
    """The entries of a folder but for hidden ones, in the order of their names.

    Raises:
        ValueError: for a folder that is not readable.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ValueError(f"{folder}: not readable ({error.strerror})") from error


def _is_image(path, arrays):
    ending = path.suffix.lower()
    known = ending in EXTENSIONS or (arrays and ending == ARRAY)
    return known and (path.is_file() or is_broken_link(path))
