"""A progress line for loops."""

import sys
import time


def progress(items, unit, show=True):
    """Yields the items of a list, and prints the number of finished items and the time.

        >>> from keras_crosscbam.progress import progress
        >>> for frame in progress(["a.png", "b.png"], "frames"):
        ...     pass
        2/2 frames, 0 s

    A terminal shows the line from the first item on; otherwise it is printed once, after the last
    item.

    Args:
        items: the items, of a known length.
        unit: plural noun for the items.
        show: whether to print the line.
    """
    total, started = len(items), time.monotonic()
    shown = -1.0
    for done, item in enumerate(items, start=1):
        yield item
        seconds = time.monotonic() - started
        last = done == total
        if show and (last or (sys.stdout.isatty() and seconds > shown + 0.1)):
            shown = seconds
            left = "" if last else f", {seconds / done * (total - done):.0f} s left"
            # The escape sequence clears the rest of a longer previous line.
            start, end = ("\r\x1b[K", "") if sys.stdout.isatty() else ("", "\n")
            print(f"{start}{done}/{total} {unit}, {seconds:.0f} s{left}", end=end, flush=True)
    if show and total and sys.stdout.isatty():
        print()
