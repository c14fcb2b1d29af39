"""Table of annotation formats, and detection of the format of a folder."""

from collections.abc import Callable
from dataclasses import dataclass

from keras_crosscbam.datasets.conversion import (
    cityscapes_polygons,
    coco,
    cvat,
    label_studio,
    labelme,
    mask_formats,
    pairs,
    supervisely,
    yolo,
)
from keras_crosscbam.datasets.conversion.annotations import Annotations
from keras_crosscbam.datasets.conversion.source import Source, read_yaml
from keras_crosscbam.datasets.dataset_yaml import CLASS_FILE
from keras_crosscbam.images import failure


@dataclass(frozen=True)
class Format:
    """A format of annotations.

    Attributes:
        title: common name of the format.
        is_in: function from a `Source` to whether it has files of this format.
        read: function from a `Source` to its `Annotations`.
        lists_classes: whether the format contains a list of the classes in order.
        is_general: whether to use the format only if no other format is detected.
    """

    title: str
    is_in: Callable[[Source], bool]
    read: Callable[[Source], Annotations]
    lists_classes: bool = True
    is_general: bool = False


def _of_json(holds):
    """Returns a function that checks whether a source has a JSON file with suitable content."""
    return lambda source: any(holds(source.json(path)) for path in source.json_files)


FORMATS = {
    "coco": Format("COCO instances", _of_json(coco.is_coco), coco.read_instances),
    "coco-panoptic": Format("COCO panoptic", _of_json(coco.is_panoptic), coco.read_panoptic),
    "yolo": Format("YOLO segmentation", yolo.is_yolo, yolo.read),
    "labelme": Format("LabelMe", _of_json(labelme.is_labelme), labelme.read, False),
    "cvat": Format("CVAT for images 1.1", cvat.is_cvat, cvat.read),
    "label-studio": Format(
        "Label Studio", _of_json(label_studio.is_label_studio), label_studio.read, False
    ),
    "supervisely": Format("Supervisely", supervisely.is_supervisely, supervisely.read),
    "cityscapes": Format(
        "polygons as in Cityscapes", cityscapes_polygons.is_cityscapes, cityscapes_polygons.read
    ),
    "voc": Format("Pascal VOC", mask_formats.is_voc, mask_formats.read_voc),
    "roboflow": Format("Roboflow masks", mask_formats.is_roboflow, mask_formats.read_roboflow),
    "mapillary": Format("Mapillary Vistas", mask_formats.is_mapillary, mask_formats.read_mapillary),
    "ade20k": Format("ADE20K", mask_formats.is_ade20k, mask_formats.read_ade20k),
    "folders": Format(
        "images and masks in two folders", pairs.is_pair_of_folders, pairs.read_folders, False, True
    ),
    "suffix": Format(
        "masks next to images", pairs.is_pair_by_suffix, pairs.read_suffix, False, True
    ),
}
"""All formats, by their names for `--format`."""


def recognize(source, format=None):
    """Returns the name of the format of a folder. If `format` is given, it is only checked.

    Raises:
        ValueError: if no format or several formats are detected.
    """
    if format is not None:
        if FORMATS[format].is_in(source):
            return format
        raise ValueError(
            f"{source.file or source.root}: does not contain files of the format {format} "
            f"({FORMATS[format].title})"
        )
    if _is_converted(source.root / CLASS_FILE):
        raise ValueError(
            f"{source.root}: already has a {CLASS_FILE}, so there is nothing to convert"
        )
    for general in (False, True):
        found = [
            name
            for name, format in FORMATS.items()
            if format.is_general == general and format.is_in(source)
        ]
        if len(found) > 1:
            raise ValueError(
                f"{source.root}: may have several formats: {', '.join(found)}. Select one with "
                "--format"
            )
        if found:
            return found[0]
    raise ValueError(
        f"{source.file or source.root}: has none of the formats {', '.join(FORMATS)}. Pass the "
        "unpacked folder of an export with its images, or the folder of the images as --images"
    )


def read_annotations(source, format):
    """Reads the `Annotations` of a folder. Each `ValueError` names a file or the folder."""
    try:
        return FORMATS[format].read(source)
    except ValueError as error:
        raise ValueError(failure(source.file or source.root, error)) from error


def _is_converted(path):
    """Returns whether a file is a `dataset.yaml` with classes, and not one of YOLO."""
    content = read_yaml(path) if path.is_file() else None
    return isinstance(content, dict) and "classes" in content
