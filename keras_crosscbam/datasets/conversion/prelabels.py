"""Labels as annotation files that people can go on correcting in their tools.

`convert` reads them back with the same labels. Pixels of a class called background are left without
annotation.
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
    """Collects the labels of images, `add(name, labels)`, for a folder, `save(folder)`.

    A name is the path of an image with slashes, below the folder of images.
    """

    def __init__(self, classes):
        self.classes = classes

    @abstractmethod
    def add(self, name, labels):
        """Adds an image."""

    @abstractmethod
    def save(self, folder):
        """Writes the files and returns their paths."""

    def masks(self, labels):
        """Each class that is there, with its bool mask."""
        for label, name in enumerate(self.classes.names):
            mask = labels == label
            if mask.any() and not is_background(name):
                yield label, name, mask

    def listed(self):
        """The label, name and color of each class that is annotated."""
        for label, (name, color) in enumerate(
            zip(self.classes.names, self.classes.colors, strict=True)
        ):
            if not is_background(name):
                yield label, name, "#{:02x}{:02x}{:02x}".format(*color)


class CocoPrelabels(_Prelabels):
    """COCO: `instances_predictions.json`, a run-length code for each class in an image."""

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
    """YOLO: `labels/NAME.txt`, a polygon for each region, and `classes.txt`.

    Polygons of YOLO have no holes; theirs are joined to the outline by a line there and back.
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
    """CVAT for images 1.1: `annotations.xml`, a mask for each class in an image."""

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
            # The first run is of pixels outside, of length 0 if there are none.
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
    """Label Studio: `tasks.json` with a brush mask for each class, and the project's configuration.

    Images are local files of Label Studio, below the folder that its storage is set to.
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
"""What collects and writes labels, by the name that `--format` of `crosscbam predict` takes."""
