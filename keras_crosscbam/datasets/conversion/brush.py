"""Run-length code of Label Studio's brush masks, which is that of the library rle-pack.

Source: https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack.

The code is a stream of bits. It starts with the number of values (32 bits), the width of a value
minus 1 (5 bits), and four widths of lengths, each minus 1 (4 bits). Blocks follow, each with a flag
(1 for a repeated value, 0 for separate values), the index of the width of the length (2 bits), the
length minus 1, and the value or values. The values are the bytes of an RGBA picture. Its opacity is
the mask.
"""

import numpy as np

_WIDTHS = (3, 4, 8, 16)


def decode(code, height, width, where):
    """Decodes a mask, bool `(height, width)`.

        >>> import numpy as np
        >>> from keras_crosscbam.datasets.conversion import brush
        >>> mask = np.eye(3, 4, dtype=bool)
        >>> bool((brush.decode(brush.encode(mask), 3, 4, "eye") == mask).all())
        True

    Args:
        code: list of numbers in 0..255.
        height, width: size of the image in pixels.
        where: beginning of the message of a `ValueError`.
    """
    try:
        content = bytes(code)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: rle must be a list of numbers in 0..255") from None
    bits, place = format(int.from_bytes(content, "big"), f"0{8 * len(content)}b"), 0

    def read(count):
        nonlocal place
        place += count
        if place > len(bits):
            raise ValueError(f"{where}: the rle ends too early")
        return int(bits[place - count : place], 2)

    total = read(32)
    if total != 4 * height * width:
        raise ValueError(
            f"{where}: the rle must have {width}x{height} pixels with 4 values each. Received: "
            f"{total} values"
        )
    value_width, widths = read(5) + 1, [read(4) + 1 for _ in range(4)]
    values, done = np.zeros(total, np.uint8), 0
    while done < total:
        repeated = read(1)
        count = read(widths[read(2)]) + 1
        if repeated:
            values[done : done + count] = read(value_width) & 255
        else:
            for i in range(done, min(done + count, total)):
                values[i] = read(value_width) & 255
        done += count
    return values.reshape(height, width, 4)[..., 3] > 0


def encode(mask):
    """Encodes a bool mask `(height, width)` as a list of numbers in 0..255."""
    values = np.repeat(np.asarray(mask, np.uint8) * 255, 4)
    bits = [f"{values.size:032b}", f"{8 - 1:05b}", *(f"{width - 1:04b}" for width in _WIDTHS)]
    starts = np.flatnonzero(np.diff(values, prepend=~values[:1]))
    for start, end in zip(starts, [*starts[1:], values.size], strict=True):
        left = int(end - start)
        while left:
            number = next((i for i, w in enumerate(_WIDTHS) if left <= 2**w), len(_WIDTHS) - 1)
            count = min(left, 2 ** _WIDTHS[number])
            bits.append(f"1{number:02b}{count - 1:0{_WIDTHS[number]}b}{values[start]:08b}")
            left -= count
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))
