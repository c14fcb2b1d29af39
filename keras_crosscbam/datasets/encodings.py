"""Encodings of mask files: class ids and colors."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class IndexEncoding:
    """Encoding of single-channel masks that contain class ids.

    Attributes:
        ids: dict from id on disk to label.
        stored: whether the ids are the numbers stored in the file, such as palette indices, instead
            of its gray values; see `keras_crosscbam.datasets.masks.read_mask`.
        rest: ids that are mapped to the background because no class has them.
    """

    ids: dict[int, int]
    stored: bool = False
    rest: frozenset[int] = frozenset()

    def decode(self, mask: np.ndarray) -> np.ndarray:
        """Converts ids `(height, width)` to uint8 labels.

        Raises:
            ValueError: for unknown ids, which the message lists, and for a color image.
        """
        if mask.ndim != 2:
            raise ValueError(
                "expected one channel of class ids; received a color image of shape "
                f"{mask.shape}. Convert it to ids, or use the data set's color layout."
            )
        lookup = np.full(256, -1, np.int16)
        for disk_id, label in self.ids.items():
            lookup[disk_id] = label
        labels = lookup[mask]
        if (labels < 0).any():
            unknown = sorted(set(np.unique(mask).tolist()) - set(self.ids))
            raise ValueError(f"expected ids {_ranges(self.ids)}; also received {unknown[:10]}")
        return labels.astype(np.uint8)

    def count_values(self, pixels: np.ndarray) -> dict[int, int]:
        """Returns a dict from each id that occurs to its number of pixels."""
        counts = np.bincount(pixels.ravel(), minlength=256).tolist()
        return {value: count for value, count in enumerate(counts) if count}


@dataclass(frozen=True)
class ColorEncoding:
    """Encoding of color masks.

    Attributes:
        colors: dict from `(r, g, b)` to label.
        rest: label of all other colors; None if they are errors.
    """

    colors: dict[tuple[int, int, int], int]
    rest: int | None = None

    def decode(self, mask: np.ndarray) -> np.ndarray:
        """Converts RGB `(height, width, 3)` to uint8 labels.

        Raises:
            ValueError: for unknown colors, if `rest` is None, and for a single-channel image.
        """
        if mask.ndim != 3:
            raise ValueError(
                "expected a color image; received a single channel. Is this the index layout?"
            )
        packed = _pack(mask[..., :3])
        values, inverse = np.unique(packed, return_inverse=True)
        known = {int(_pack(np.array(c))): label for c, label in self.colors.items()}
        unknown = [v for v in values.tolist() if v not in known]
        if unknown and self.rest is None:
            colors = [(v >> 16, v >> 8 & 255, v & 255) for v in unknown[:5]]
            raise ValueError(
                f"{len(unknown)} colors belong to no class, for example {colors} "
                "(lossy compression or resizing of a mask produces such colors)"
            )
        labels = np.array([known.get(v, self.rest) for v in values.tolist()], np.uint8)
        return labels[inverse].reshape(mask.shape[:2])

    def count_values(self, pixels: np.ndarray) -> dict[tuple[int, int, int], int]:
        """Returns a dict from each `(r, g, b)` that occurs in `(..., 3)` to its pixel count."""
        values, counts = np.unique(_pack(pixels[..., :3]), return_counts=True)
        colors = [(value >> 16, value >> 8 & 255, value & 255) for value in values.tolist()]
        return dict(zip(colors, counts.tolist(), strict=True))


def _pack(rgb):
    rgb = rgb.astype(np.int32)
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


def _ranges(ids):
    return f"{min(ids)}..{max(ids)}" if len(ids) == max(ids) - min(ids) + 1 else sorted(ids)
