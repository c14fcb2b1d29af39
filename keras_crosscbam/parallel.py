"""Processes the items of an iterable in other threads, before the results are used."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor

_END = object()


def parallel_map(function, items, workers=1, ahead=2):
    """Like `map`, but threads compute the next results while the current one is used.

        >>> from keras_crosscbam.parallel import parallel_map
        >>> list(parallel_map(str, [1, 2, 3], workers=2))
        ['1', '2', '3']

    The results are in the order of the items. An exception of an item, or of the iterable itself,
    is raised after the results before it, and ends the iteration. If the iterator is closed early,
    calls that have started are finished first.

    Args:
        function: function of one item. With one worker, calls do not overlap.
        items: an iterable. It is iterated and finally closed in the thread that uses the results.
        workers: number of threads.
        ahead: number of items, in addition to one per worker, that may be waiting or finished. It
            limits the memory.

    Yields:
        `function(item)` for each item.
    """
    pool = ThreadPoolExecutor(workers)
    iterator, waiting, failed = iter(items), deque(), None
    try:
        while True:
            try:
                item = next(iterator)
            except StopIteration:
                break
            except Exception as error:  # raised below
                failed = error
                break
            waiting.append(pool.submit(function, item))
            if len(waiting) >= workers + ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failed is not None:
            raise failed
    finally:
        pool.shutdown(cancel_futures=True)
        if hasattr(items, "close"):
            items.close()


def prefetched(items, ahead=2):
    """Yields the items of an iterable, which another thread iterates in advance.

        >>> from keras_crosscbam.parallel import prefetched
        >>> list(prefetched(range(3)))
        [0, 1, 2]

    Args:
        items: an iterable, which is closed at the end.
        ahead: number of items that may be waiting.
    """
    iterator = iter(items)
    calls = parallel_map(lambda _: next(iterator, _END), _forever(), ahead=ahead)
    try:
        for item in calls:
            if item is _END:
                return
            yield item
    finally:
        calls.close()
        if hasattr(items, "close"):
            items.close()


def _forever():
    while True:
        yield None
