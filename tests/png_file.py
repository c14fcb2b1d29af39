"""PNG files of any kind, also those that Pillow cannot write."""

import struct
import zlib

import numpy as np

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6


def png(samples, bits, kind=GRAY, palette=None, opacity=None):
    """A PNG file, byte for byte as its specification says.

    Args:
        samples: whole numbers `(height, width)` or `(height, width, channels)`, as they are stored.
        bits: of a sample: 1, 2, 4, 8 or 16.
        kind: the color type, `GRAY` and so on.
        palette: colors `(numbers, 3)`; one column makes grays.
        opacity: of the palette's first entries.

    Returns:
        The content of the file.
    """
    samples = np.asarray(samples)
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    if bits < 8:
        rows = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :]
        rows = np.packbits(rows.reshape(height, -1), axis=1)
    rows = rows.astype(">u2" if bits == 16 else np.uint8)
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))]
    if palette is not None:
        colors = np.broadcast_to(np.asarray(palette, np.uint8), (len(palette), 3))
        chunks.append((b"PLTE", colors.tobytes()))
    if opacity is not None:
        chunks.append((b"tRNS", bytes(opacity)))
    chunks += [(b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, *zip(*chunks, strict=True)))


def _chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def grays_as_palette(gray, order=sorted):
    """8-bit gray as lossless optimizers rewrite it: its grays as a palette, of as few bits as do.

    Args:
        gray: uint8 `(height, width)`.
        order: what puts the grays in the order of the palette.
    """
    grays = order(np.unique(gray).tolist())
    numbers = np.zeros(256, np.uint8)
    numbers[grays] = range(len(grays))
    bits = next(bits for bits in (1, 2, 4, 8) if len(grays) <= 2**bits)
    return png(numbers[gray], bits, PALETTE, np.array(grays)[:, None])
