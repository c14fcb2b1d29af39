"""Descriptions of exported networks: layout, input and output types, and classes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from keras_crosscbam.classes import ClassTable

METADATA = "keras_crosscbam"
"""The key of the JSON text in an ONNX file's metadata and in OpenVINO's runtime information."""

LAYOUTS = ("nchw", "nhwc")
PIXELS = ("float32", "uint8")
OUTPUTS = ("logits", "probabilities", "labels", "coarse_logits")


@dataclass(frozen=True)
class Description:
    """Metadata that is necessary to run a network.

        >>> from keras_crosscbam.runtime.description import Description
        >>> text = Description("nchw", output="labels", extra={"precision": "int8"}).to_json()
        >>> Description.from_json(text).extra
        {'precision': 'int8'}

    Attributes:
        layout: layout of the image and of the scores, `"nchw"` or `"nhwc"`.
        pixels: dtype of the pixels, `"float32"` or `"uint8"`, 0..255 for both; RGB for three
            channels.
        output: `"logits"` or `"probabilities"` for scores at the size of the image, `"labels"` for
            class indices, `"coarse_logits"` for scores before the last upsampling.
        classes: the `ClassTable`, or None.
        extra: additional information, a dict of JSON values. Its entry `"normalization"` is
            `"inside"` in files that take pixels of 0..255; version 0.1 also wrote `"expected"` for
            models without a normalization of this package.

    Raises:
        ValueError: for another layout, pixels or output.
    """

    layout: str = "nhwc"
    pixels: str = "float32"
    output: str = "logits"
    classes: ClassTable | None = None
    extra: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, allowed in (("layout", LAYOUTS), ("pixels", PIXELS), ("output", OUTPUTS)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"`{name}` must be one of {allowed}. Received: {getattr(self, name)!r}"
                )

    def to_json(self) -> str:
        """Returns a JSON object as a string, with the fields and the entries of `extra`."""
        named = self.classes and {"classes": self.classes.names, "colors": self.classes.colors}
        fields = {"layout": self.layout, "pixels": self.pixels, "output": self.output}
        return json.dumps({**fields, **(named or {}), **self.extra})

    @classmethod
    def from_json(cls, text: str) -> Description:
        """Returns the description that `to_json` wrote; raises a `ValueError` for other text."""
        try:
            entries = dict(json.loads(text))
            names, colors = entries.pop("classes", None), entries.pop("colors", None)
            classes = names and ClassTable(tuple(names), tuple(map(tuple, colors)))
            known = {key: entries.pop(key) for key in ("layout", "output") if key in entries}
            # Version 0.1 wrote "float32, RGB, 0..255".
            pixels = entries.pop("pixels", "float32").split(",")[0]
            return cls(**known, pixels=pixels, classes=classes or None, extra=entries)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"not a description of a network ({error})") from error


def parse(path, text):
    """Returns the `Description` in a file's JSON text; a `ValueError` names the file."""
    try:
        return Description.from_json(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def beside(path):
    """Returns the path of the description file for formats without metadata.

    It is `NAME.EXT.json` next to a file, and `keras_crosscbam.json` inside a folder.
    """
    path = Path(path)
    return path / f"{METADATA}.json" if path.is_dir() else path.with_name(f"{path.name}.json")


def write_beside(path, description):
    """Writes the `Description` of a file or folder to the path that `beside` returns."""
    beside(path).write_text(description.to_json(), encoding="utf-8")


def read_beside(path):
    """Returns the `Description` of a file or folder, or None if there is no description file.

    Raises:
        ValueError: for a damaged description file.
    """
    file = beside(path)
    if not file.is_file():
        return None
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: not a description of a network ({error})") from error
    return parse(file, text)
