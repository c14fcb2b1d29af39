"""Reader of COCO: instances (polygons and both run-length codes) and panoptic masks.

Source: https://cocodataset.org/#format-data.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from keras_crosscbam.datasets.conversion.annotations import (
    UNLABELED,
    Annotations,
    ClassList,
    Frame,
)
from keras_crosscbam.datasets.conversion.drawing import check_ring
from keras_crosscbam.datasets.conversion.extra import pycocotools_mask
from keras_crosscbam.datasets.conversion.source import check_images, get, size_of, split_named
from keras_crosscbam.images import open_image


def is_coco(content):
    """Returns whether the content of a JSON file is COCO instances."""
    return _has_lists(content) and not is_panoptic(content)


def is_panoptic(content):
    """Returns whether the content of a JSON file is COCO panoptic annotations."""
    if not _has_lists(content):
        return False
    annotations = content.get("annotations")
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    return isinstance(first, dict) and "segments_info" in first


def _has_lists(content):
    return isinstance(content, dict) and all(
        isinstance(content.get(key), list) for key in ("images", "categories")
    )


def read_instances(source):
    """Reads all files `instances_*.json`. If there are none, reads all files of instances."""
    pycocotools_mask()
    files = [path for path in source.json_files if is_coco(source.json(path))]
    named = [path for path in files if path.name.startswith("instances_")]
    return _read(
        source,
        named or files,
        _instances,
        "smaller areas are drawn over larger ones",
        "background",
    )


def read_panoptic(source):
    """Reads all JSON files of panoptic annotations and their PNG files."""
    files = [path for path in source.json_files if is_panoptic(source.json(path))]
    return _read(source, files, _panoptic, "segments do not overlap", "ignore")


def _read(source, files, read_image, order, unlabeled):
    classes, frames, colors, no_area = ClassList(), [], {}, 0
    for path in files:
        content, labels = source.json(path), {}
        for category in content["categories"]:
            name = get(category, "name", str, f"{path}: categories")
            labels[get(category, "id", int, f"{path}: category {name}")] = classes.label(name)
            if _is_color(category.get("color")):
                colors[name] = tuple(category["color"])
        # Files of captions and of unlabeled test images have no annotations.
        annotated, of_image = "annotations" in content, defaultdict(list)
        ids = {get(image, "id", int, f"{path}: images") for image in content["images"]}
        for annotation in get(content, "annotations", list, str(path)) if annotated else ():
            if not isinstance(annotation, dict):
                raise ValueError(f"{path}: annotations must be mappings. Received: {annotation!r}")
            where = f"{path}: annotation {annotation.get('id', '')}"
            image_id = get(annotation, "image_id", int, where)
            if image_id not in ids:
                raise ValueError(f"{where}: image_id {image_id} is not among the images")
            of_image[image_id].append((where, annotation))
        missing, split = [], split_named(path.stem)
        for entry in content["images"]:
            name = get(entry, "file_name", str, f"{path}: image {entry['id']}")
            image = source.image(name, path, split or source.split(path))
            if image is None:
                missing.append(name)
                continue
            size = size_of(entry, "height", "width", f"{path}: image {name}")
            drawn, skipped = ({}, 0)
            if annotated:
                drawn, skipped = read_image(source, path, of_image[entry["id"]], labels, size)
            no_area += skipped
            of_split = split or source.split(path) or source.split(image)
            frames.append(Frame(image, path, size=size, split=of_split, **drawn))
        check_images(path, missing, source.images_root)
    notes = [f"{no_area} annotations without a segmentation are left out"] if no_area else []
    return Annotations(tuple(classes.names), tuple(frames), order, unlabeled, colors, tuple(notes))


def _is_color(value):
    return isinstance(value, list) and len(value) == 3 and all(type(v) is int for v in value)


def _label(labels, category, where):
    if not isinstance(category, int) or category not in labels:
        raise ValueError(f"{where}: category_id {category} is not among the categories")
    return labels[category]


def _instances(source, path, annotations, labels, size):
    regions, skipped = [], 0
    for where, annotation in annotations:
        label = _label(labels, annotation.get("category_id"), where)
        segmentation = annotation.get("segmentation")
        if not segmentation:
            skipped += 1
            continue
        code = _run_lengths(segmentation, size, where)
        # A crowd is an area of a class, too. Single objects may be drawn over it.
        regions.append((not annotation.get("iscrowd"), -_area(code), Region(label, code)))
    regions.sort(key=lambda region: region[:2])
    return {"shapes": tuple(region for *_, region in regions)}, skipped


@dataclass(frozen=True)
class Region:
    """The pixels of a compressed run-length code, a dict in the format of pycocotools."""

    label: int
    code: dict

    def paint(self, canvas):
        canvas[pycocotools_mask().decode(self.code).astype(bool)] = self.label


def _area(code):
    return int(pycocotools_mask().area(code))


def _run_lengths(segmentation, size, where):
    """Returns the compressed run-length code of polygons or of a run-length code."""
    mask = pycocotools_mask()
    if isinstance(segmentation, list):
        for numbers in segmentation:
            if not isinstance(numbers, list) or len(numbers) % 2:
                raise ValueError(f"{where}: expected lists of x, y, x, y, ... as polygons")
            check_ring([numbers[i : i + 2] for i in range(0, len(numbers), 2)], where)
        return mask.merge(mask.frPyObjects([list(map(float, s)) for s in segmentation], *size))
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    if not isinstance(counts, list | str) or segmentation.get("size") != list(size):
        raise ValueError(
            f"{where}: expected a run-length code with counts and the size {list(size)}. "
            f"Received: {str(segmentation)[:60]}"
        )
    if isinstance(counts, list):
        if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != size[0] * size[1]:
            raise ValueError(f"{where}: the run lengths must add up to {size[0] * size[1]} pixels")
        return mask.frPyObjects({"size": list(size), "counts": counts}, *size)
    if _decompressed(counts, where) != size[0] * size[1]:
        raise ValueError(f"{where}: the run lengths must add up to {size[0] * size[1]} pixels")
    return {"size": list(size), "counts": counts.encode("ascii")}


def _decompressed(text, where):
    """Returns the number of pixels of a compressed code, which pycocotools does not check.

    A character has five bits of a number. The sixth bit is set if the number continues. From the
    third number on, each number is the difference to the second number before it.
    """
    numbers, number, shift = [], 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{where}: {character!r} is not allowed in a run-length code")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        number += numbers[-2] if len(numbers) > 2 else 0
        if number < 0:
            raise ValueError(f"{where}: a run length is negative")
        numbers.append(number)
        number = shift = 0
    if shift:
        raise ValueError(f"{where}: the run-length code ends too early")
    return sum(numbers)


def _panoptic(source, path, annotations, labels, size):
    if len(annotations) > 1:
        raise ValueError(f"{annotations[1][0]}: the image has another annotation already")
    if not annotations:
        raise ValueError(f"{path}: an image has no annotation")
    ((where, annotation),) = annotations
    name = get(annotation, "file_name", str, where)
    # The folder of the masks has the name of the file: panoptic_val2017/.
    candidates = [path.with_suffix("") / name, path.parent / name]
    mask = next((c for c in candidates if c in source.all_images), None)
    if mask is None:
        raise ValueError(f"{where}: the mask {candidates[0]} does not exist")
    segments = {
        get(segment, "id", int, where): _label(labels, segment.get("category_id"), where)
        for segment in get(annotation, "segments_info", list, where)
    }
    return {"mask": PanopticMask(mask, segments)}, 0


@dataclass(frozen=True)
class PanopticMask:
    """A PNG in which R + 256 G + 256² B is the id of a segment, and 0 is unlabeled."""

    path: object
    labels: dict[int, int]

    def read(self):
        rgb = open_image(self.path, lambda image: np.asarray(image.convert("RGB"))).astype(np.int64)
        ids, inverse = np.unique(rgb @ np.array([1, 256, 65536]), return_inverse=True)
        known = {0: UNLABELED, **self.labels}
        unknown = [i for i in ids.tolist() if i not in known]
        if unknown:
            raise ValueError(f"{self.path}: contains segments that are not listed: {unknown[:5]}")
        lookup = np.array([known[i] for i in ids.tolist()], np.uint8)
        return lookup[inverse].reshape(rgb.shape[:2])
