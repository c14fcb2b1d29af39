"""Writes predicted labels as annotation files, for corrections in annotation tools.

`convert` reads the files as the same labels. Pixels of a class called background get no annotation.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np

from keras_crosscbam.classes import ClassTable
from keras_crosscbam.datasets.conversion import brush
from keras_crosscbam.datasets.conversion.annotations import is_background
from keras_crosscbam.datasets.conversion.contours import joined, regions
from keras_crosscbam.datasets.conversion.extra import pycocotools_mask


class _Prelabels(ABC):
    """Base class of writers: `add(name, labels)` adds an image, `save(folder)` writes the files.

    A name is the path of an image with slashes, relative to the folder of images.
    """

    def __init__(self, classes):
        self.classes = classes

    @abstractmethod
    def add(self, name, labels):
        """Adds the labels of an image."""

    @abstractmethod
    def save(self, folder):
        """Writes the files and returns their paths."""

    def masks(self, labels):
        """Yields label, name and bool mask of each class that occurs in an image."""
        for label, name in enumerate(self.classes.names):
            mask = labels == label
            if mask.any() and not is_background(name):
                yield label, name, mask

    def listed(self):
        """Yields label, name and color of each class except background."""
        for label, (name, color) in enumerate(
            zip(self.classes.names, self.classes.colors, strict=True)
        ):
            if not is_background(name):
                yield label, name, "#{:02x}{:02x}{:02x}".format(*color)


class CocoPrelabels(_Prelabels):
    """Writes COCO: `instances_predictions.json`, a run-length code for each class in an image."""

    def __init__(self, classes):
        super().__init__(classes)
        self.code = pycocotools_mask()
        self.images, self.annotations = [], []

    def add(self, name, labels):
        height, width = labels.shape
        image_id = len(self.images) + 1
        self.images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for label, _, mask in self.masks(labels):
            code = self.code.encode(np.asfortranarray(mask.astype(np.uint8)))
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": image_id,
                    "category_id": label + 1,
                    "segmentation": {"size": [height, width], "counts": code["counts"].decode()},
                    "area": int(mask.sum()),
                    "bbox": [float(number) for number in self.code.toBbox(code)],
                    "iscrowd": 0,
                }
            )

    def save(self, folder):
        categories = [{"id": label + 1, "name": name} for label, name, _ in self.listed()]
        content = {
            "images": self.images,
            "annotations": self.annotations,
            "categories": categories,
        }
        return [_write(folder / "instances_predictions.json", json.dumps(content))]


class YoloPrelabels(_Prelabels):
    """Writes YOLO: `labels/NAME.txt`, a polygon for each region, and `classes.txt`.

    Polygons of YOLO have no holes. Holes are connected with the outline by a line in both
    directions.
    """

    def __init__(self, classes):
        super().__init__(classes)
        self.numbers = {label: number for number, (label, *_) in enumerate(self.listed())}
        self.lines = {}

    def add(self, name, labels):
        height, width = labels.shape
        self.lines[name] = [
            " ".join(
                [str(self.numbers[label]), *(f"{x / width:.9f} {y / height:.9f}" for x, y in ring)]
            )
            for label, _, mask in self.masks(labels)
            for ring in (joined(outer, holes) for outer, holes in regions(mask))
        ]

    def save(self, folder):
        names = "\n".join(name for _, name, _ in self.listed())
        written = [_write(folder / "classes.txt", f"{names}\n")]
        for name, lines in self.lines.items():
            path = folder / "labels" / f"{name.rpartition('.')[0]}.txt"
            written.append(_write(path, "".join(f"{line}\n" for line in lines)))
        return written


class CvatPrelabels(_Prelabels):
    """Writes CVAT for images 1.1: `annotations.xml`, a mask for each class in an image."""

    def __init__(self, classes):
        super().__init__(classes)
        self.root = ElementTree.Element("annotations")
        ElementTree.SubElement(self.root, "version").text = "1.1"
        task = ElementTree.SubElement(ElementTree.SubElement(self.root, "meta"), "task")
        labels = ElementTree.SubElement(task, "labels")
        for _, name, color in self.listed():
            label = ElementTree.SubElement(labels, "label")
            for tag, text in (("name", name), ("color", color), ("type", "mask")):
                ElementTree.SubElement(label, tag).text = text

    def add(self, name, labels):
        height, width = map(str, labels.shape)
        number = str(len(self.root.findall("image")))
        image = ElementTree.SubElement(
            self.root, "image", id=number, name=name, width=width, height=height
        )
        for _, class_name, mask in self.masks(labels):
            rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            values = cut.ravel()
            # The first run contains pixels outside the mask. Its length may be 0.
            ends = np.flatnonzero(np.diff(values, prepend=False, append=not values[-1]))
            runs = np.diff(ends, prepend=0).tolist()
            box = {
                "left": columns[0],
                "top": rows[0],
                "width": cut.shape[1],
                "height": cut.shape[0],
            }
            ElementTree.SubElement(
                image,
                "mask",
                label=class_name,
                source="auto",
                occluded="0",
                rle=", ".join(map(str, runs)),
                z_order="0",
                **{key: str(value) for key, value in box.items()},
            )

    def save(self, folder):
        ElementTree.indent(self.root)
        text = ElementTree.tostring(self.root, encoding="unicode", xml_declaration=True)
        return [_write(folder / "annotations.xml", text)]


class LabelStudioPrelabels(_Prelabels):
    """Writes Label Studio: `tasks.json` with brush masks, and `labeling_config.xml`.

    Images are local files of Label Studio, in the folder of its local storage.
    """

    def __init__(self, classes):
        super().__init__(classes)
        self.tasks = []

    def add(self, name, labels):
        height, width = labels.shape
        result = [
            {
                "id": f"{len(self.tasks)}-{label}",
                "type": "brushlabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {"format": "rle", "rle": brush.encode(mask), "brushlabels": [class_name]},
            }
            for label, class_name, mask in self.masks(labels)
        ]
        self.tasks.append(
            {
                "data": {"image": f"/data/local-files/?d={quote(name)}"},
                "predictions": [{"model_version": "keras-crosscbam", "result": result}],
            }
        )

    def save(self, folder):
        view = ElementTree.Element("View")
        ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true")
        labels = ElementTree.SubElement(view, "BrushLabels", name="label", toName="image")
        for _, name, color in self.listed():
            ElementTree.SubElement(labels, "Label", value=name, background=color)
        ElementTree.indent(view)
        return [
            _write(folder / "tasks.json", json.dumps(self.tasks)),
            _write(folder / "labeling_config.xml", ElementTree.tostring(view, encoding="unicode")),
        ]


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


PRELABELS: dict[str, Callable[[ClassTable], _Prelabels]] = {
    "coco": CocoPrelabels,
    "yolo": YoloPrelabels,
    "labelstudio": LabelStudioPrelabels,
    "cvat": CvatPrelabels,
}
"""Classes that write labels, by their names for `--format` of `crosscbam predict`."""
