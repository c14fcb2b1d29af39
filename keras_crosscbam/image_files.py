"""Lists the image files in a folder. Links are followed, hidden files are skipped."""

import os
from pathlib import Path

from keras_crosscbam.image_channels import ARRAY
from keras_crosscbam.images import EXTENSIONS


def image_files(source, arrays=False):
    """Returns the image files at a path: the file itself, or the images directly in the folder.

        >>> from keras_crosscbam.image_files import image_files
        >>> from keras_crosscbam.images import ASSETS
        >>> [file.name for file in image_files(ASSETS)]
        ['street.jpg']

    Hidden files, such as the `._photo.jpg` that macOS writes next to `photo.jpg`, are skipped.
    A link to a missing image is in the list, so that reading it raises an error.

    Args:
        source: path of an image or a folder.
        arrays: whether to include `.npy` files.

    Returns:
        A list of paths, sorted by name.

    Raises:
        ValueError: if the source does not exist, is not readable, or is a folder without images.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ValueError(f"{source}: no such file or folder")
    files = [path for path in visible_files(source) if _is_image(path, arrays)]
    if not files:
        raise ValueError(f"{source}: the folder contains no images")
    return files


def image_files_below(folder, arrays=False):
    """Returns the image files in a folder and its subfolders, including linked ones.

    A link to a folder that contains it is not followed, because that would not end. A broken link
    is in the list whatever its name, because it may be a link to a folder of images.

    Args:
        folder: path of a folder; the list is empty if it does not exist.
        arrays: whether to include `.npy` files.

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
    """Returns a list of all files in a folder and its subfolders; see `image_files_below`."""
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
    """Returns the sorted names of the folders in a folder, including linked ones.

    Raises:
        ValueError: for a folder that is not readable, and for a broken link.
    """
    folder = Path(folder)
    paths = visible_files(folder) if folder.is_dir() else []
    for path in filter(is_broken_link, paths):
        raise ValueError(f"{path}: {describe_broken_link(path)}")
    return [path.name for path in paths if path.is_dir()]


def is_broken_link(path):
    """Returns whether a path is a symbolic link to a path that does not exist."""
    return path.is_symlink() and not path.exists()


def describe_broken_link(path):
    """Returns the error text for a broken link."""
    return f"a link to {os.readlink(path)}, which does not exist; fix the link or remove it"


def visible_files(folder):
    """Returns the entries of a folder except for hidden ones, sorted by name.

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
