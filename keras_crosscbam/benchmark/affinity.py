"""Keeping a benchmark on a fixed number of processor cores."""

import contextlib
import os
from pathlib import Path


def allowed_cores():
    """Numbers of the cores that this process may use, None where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


@contextlib.contextmanager
def pinned(threads):
    """Lets threads and processes that start inside use only so many cores.

        >>> import os
        >>> from keras_crosscbam.benchmark.affinity import allowed_cores, pinned
        >>> with pinned(1):
        ...     print(len(allowed_cores() or [0]))
        1

    Threads that run already keep what they had, but for the calling one.

    Args:
        threads: number of cores; None changes nothing.

    Raises:
        ValueError: if this process may not use so many.
    """
    before = allowed_cores()
    if threads is None or before is None:
        yield
        return
    if not 1 <= threads <= len(before):
        raise ValueError(
            f"`threads` must be between 1 and the {len(before)} cores that this process may use. "
            f"Received: {threads}"
        )
    os.sched_setaffinity(0, sorted(before, key=_sibling_rank)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _sibling_rank(core):
    """Of logical processors that share a core, the first ones come first."""
    siblings = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    if not siblings.is_file():
        return 0
    text = siblings.read_text().strip().replace("-", ",")
    return text.split(",").index(str(core)) if str(core) in text.split(",") else len(text)
