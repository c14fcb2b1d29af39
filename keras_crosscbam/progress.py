"""A line that tells how far a loop is."""

import sys
import time


def progress(items, unit, show=True):
    """Yields the items of a list, and prints how many are done and how long it takes.

        >>> from keras_crosscbam.progress import progress
        >>> for frame in progress(["a.png", "b.png"], "frames"):
        ...     pass
        2/2 frames, 0 s

    A terminal shows the line from the first item on; elsewhere it is printed in the end.

    Args:
        items: what to loop over, of a known length.
        unit: what the items are, in the plural.
        show: whether to print anything.
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
            # The sequence clears what a longer line has left.
            start, end = ("\r\x1b[K", "") if sys.stdout.isatty() else ("", "\n")
            print(f"{start}{done}/{total} {unit}, {seconds:.0f} s{left}", end=end, flush=True)
    if show and total and sys.stdout.isatty():
        print()
