"""What an exported file says about itself, whatever its format."""

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
    """What has to be known about a network to run it.

        >>> from keras_crosscbam.runtime.description import Description
        >>> text = Description("nchw", output="labels", extra={"precision": "int8"}).to_json()
        >>> Description.from_json(text).extra
        {'precision': 'int8'}

    Attributes:
        layout: `"nchw"` or `"nhwc"`, of the image and of the scores.
        pixels: `"float32"` or `"uint8"`, of 0..255 in both cases; RGB where there are three
            channels.
        output: `"logits"` or `"probabilities"`, scores at the size of the image; `"labels"`, class
            indices; `"coarse_logits"`, scores of a fraction of the size, still to be upsampled.
        classes: their `ClassTable`, or None.
        extra: what only informs, by name; values that JSON can hold. Its entry `"normalization"`
            is `"inside"` in files that take pixels of 0..255; version 0.1 also wrote `"expected"`,
            of models without a normalization of this package.

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
        """One JSON object as a string: the fields, and what is in `extra` beside them."""
        named = self.classes and {"classes": self.classes.names, "colors": self.classes.colors}
        fields = {"layout": self.layout, "pixels": self.pixels, "output": self.output}
        return json.dumps({**fields, **(named or {}), **self.extra})

    @classmethod
    def from_json(cls, text: str) -> Description:
        """The description that `to_json` wrote; `ValueError` for any other text."""
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
    """The `Description` in the text that a file carries; `ValueError` names the file."""
    try:
        return Description.from_json(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def beside(path):
    """Where the description of a file without room for one lies, as a `Path`.

    `NAME.EXT.json` beside a file, `keras_crosscbam.json` inside a folder.
    """
    path = Path(path)
    return path / f"{METADATA}.json" if path.is_dir() else path.with_name(f"{path.name}.json")


def write_beside(path, description):
    """Writes the `Description` of a file or folder to the place that `beside` names."""
    beside(path).write_text(description.to_json(), encoding="utf-8")


def read_beside(path):
    """The `Description` of a file or folder, None without one; `ValueError` for a damaged one."""
    file = beside(path)
    if not file.is_file():
        return None
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: not a description of a network ({error})") from error
    return parse(file, text)
