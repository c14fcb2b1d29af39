"""Finds and reads the files of a folder of annotations, but no files outside of it."""

import json
import re
from functools import cached_property
from pathlib import Path, PurePosixPath

import yaml
from PIL import Image

from keras_crosscbam.datasets.listing import shorten_list
from keras_crosscbam.image_files import files_below, image_files_below, is_broken_link

_SPLIT = re.compile(r"(train|val|test)(?:ing|id|idation)?(?:\d{4})?", re.IGNORECASE)


class Source:
    """A folder with annotations, or a single annotation file, and a folder with images.

    Attributes:
        root: folder with the annotations.
        images_root: folder with the images. Files outside of the two folders are never opened.
        file: the only annotation file to read; None for all files in the folder.
        class_names: names of the ids 0, 1, ... in masks, for formats without names.
    """

    def __init__(self, path, images=None, class_names=None):
        path = Path(path)
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder")
        if path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz"):
            raise ValueError(f"{path}: is an archive. Unpack it first and pass the folder")
        self.file = path if path.is_file() else None
        self.root = path.parent if path.is_file() else path
        self.images_root = Path(images) if images is not None else self.root
        if not self.images_root.is_dir():
            raise ValueError(f"{self.images_root}: no such folder of images")
        self.class_names = class_names
        self._json = {}

    @cached_property
    def images(self):
        """The image files below the folder of images, a sorted list."""
        return sorted(p for p in image_files_below(self.images_root) if not is_broken_link(p))

    @cached_property
    def _by_name(self):
        names = {}
        for path in self.images:
            names.setdefault(path.name, []).append(path)
        return names

    def files(self, *endings):
        """Returns the files below the folder with one of these endings, sorted by depth."""
        if self.file is not None:
            return [self.file] if self.file.name.lower().endswith(endings) else []
        found = [path for path in self._files if path.name.lower().endswith(endings)]
        return sorted(found, key=lambda path: (len(path.parts), path))

    @cached_property
    def _files(self):
        return [path for path in files_below(self.root) if not is_broken_link(path)]

    @cached_property
    def json_files(self):
        """All JSON files below the folder."""
        return self.files(".json")

    def json(self, path):
        """Returns the content of a JSON file, which is read once."""
        if path not in self._json:
            content = read_json(path)
            if isinstance(content, dict) and "imageData" in content:
                # A copy of the image in files of LabelMe, which would need too much memory.
                content["imageData"] = None
            self._json[path] = content
        return self._json[path]

    def image(self, name, file, split=None, folder="."):
        """Finds the image that is named in an annotation file.

        Args:
            name: path of the image in the annotation file, with slashes or backslashes.
            file: path of the annotation file.
            split: split of the image, for images with the same name in several splits; None if it
                is not known.
            folder: folder that the name is relative to, from the folder of the file.

        Returns:
            The path of the image. If the named path does not exist, it is the image whose path has
            the most last parts in common with the named path. None if there is no such image, or
            more than one.

        Raises:
            ValueError: if the path is outside of the source, with the name of the file.
        """
        base = file.parent / folder
        parts = PurePosixPath(str(name).replace("\\", "/"))
        absolute = parts.is_absolute() or re.match(r"[A-Za-z]:", str(parts))
        if not absolute:
            folders = (base, self.root, self.images_root)
            # A folder of images that the user specifies is searched first.
            for place in folders if self.images_root == self.root else folders[::-1]:
                path = _joined(place, parts)
                if path is not None and self._is_inside(path) and path in self.all_images:
                    return path
            if ".." in parts.parts and not self._may_stay_inside(base, parts):
                raise ValueError(f"{file}: names {name!r}, which is outside of {self.root}")
        candidates = self._by_name.get(parts.name, [])
        tail = [_common_end(parts.parts, path.parts) for path in candidates]
        best = [path for path, n in zip(candidates, tail, strict=True) if n == max(tail)]
        if len(best) > 1 and split is not None:
            best = [path for path in best if self.split(path) == split]
        return best[0] if len(best) == 1 else None

    @cached_property
    def all_images(self):
        """The image files below both folders, a set."""
        return frozenset((*self.images, *image_files_below(self.root)))

    def beside(self, path, but=None):
        """Returns the image with a path without extension, or None if none or several exist.

        `but` is a path that is not returned.
        """
        found = [p for p in self._by_stem.get((path.parent, path.name), ()) if p != but]
        return found[0] if len(found) == 1 else None

    @cached_property
    def _by_stem(self):
        stems = {}
        for path in sorted(self.all_images):
            stems.setdefault((path.parent, path.stem), []).append(path)
        return stems

    def _is_inside(self, path):
        return any(path.is_relative_to(root) for root in (self.root, self.images_root))

    def _may_stay_inside(self, base, parts):
        path = _joined(base, parts)
        return path is not None and self._is_inside(path)

    def place(self, image):
        """Returns the path of an image relative to the folder of images, with slashes."""
        root = self.images_root if image.is_relative_to(self.images_root) else self.root
        return image.relative_to(root).as_posix()

    def split(self, path):
        """Returns the split that is the name of a folder in a path, or None."""
        for root in (self.images_root, self.root):
            if path.is_relative_to(root):
                parts = path.relative_to(root).parts[:-1]
                return next(filter(None, map(split_named, parts)), None)
        return None


def _joined(folder, parts):
    """Returns `folder/parts` with `..` resolved as text, or None if it is above the root."""
    whole = list(folder.parts)
    for part in parts.parts:
        if part == "..":
            if len(whole) < 2:
                return None
            whole.pop()
        else:
            whole.append(part)
    return Path(*whole)


def _common_end(one, other):
    count = 0
    for mine, theirs in zip(reversed(one), reversed(other), strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def split_named(text):
    """Returns the split for a name such as `train2017`, `training` or `valid`, or None.

    >>> from keras_crosscbam.datasets.conversion.source import split_named
    >>> split_named("instances_val2017"), split_named("validation"), split_named("default")
    ('val', 'val', None)
    """
    match = _SPLIT.fullmatch(re.split(r"[_.]", text)[-1])
    return match and match[1].lower()


def check_images(file, missing, root):
    """Raises a `ValueError` if images that a file names are missing."""
    if missing:
        raise ValueError(
            f"{file}: {len(missing)} of the images that it names do not exist in {root} or exist "
            f"more than once: {shorten_list(missing)}"
        )


def read_text(path):
    """Reads a UTF-8 text file. Raises a `ValueError` that names the file."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason})") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error


def read_json(path):
    """Reads a JSON file. Raises a `ValueError` that names the file."""
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from error


def read_yaml(path):
    """Reads a YAML file. Raises a `ValueError` that names the file."""
    try:
        return yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as YAML ({text})") from error


def get(mapping, key, kind, where):
    """Returns a field of a mapping from a file. Raises a `ValueError` if missing or invalid."""
    value = mapping.get(key) if isinstance(mapping, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = {dict: "a mapping", list: "a list", str: "text", int: "a whole number"}
        raise ValueError(
            f"{where}: expected {wanted.get(kind, 'a number')} named {key!r}. Received: "
            f"{str(value)[:60]!r}"
        )
    return value


def size_of(mapping, height, width, where):
    """Returns `(height, width)` from two fields. Raises a `ValueError` for an invalid size."""
    size = get(mapping, height, int, where), get(mapping, width, int, where)
    check_size(size, where)
    return size


def check_size(size, where):
    """Raises a `ValueError` for sides below 1 or for more pixels than Pillow supports."""
    if min(size) < 1 or size[0] * size[1] > 2 * Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"{where}: {size[1]}x{size[0]} pixels is not a valid image size")
