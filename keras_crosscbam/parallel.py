"""Work on the items of a stream in other threads, ahead of where the results are used."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor

_END = object()


def parallel_map(function, items, workers=1, ahead=2):
    """Like `map`, but the next results are computed by threads while this one is used.

        >>> from keras_crosscbam.parallel import parallel_map
        >>> list(parallel_map(str, [1, 2, 3], workers=2))
        ['1', '2', '3']

    The results come in the order of the items. An error of an item, or of the iterable itself, is
    raised in its place, after the results before it, and ends the map. Where the map is closed
    early, work that has begun is finished first.

    Args:
        function: of one item; with one worker, calls do not overlap.
        items: an iterable, which is iterated and in the end closed in the thread that uses the
            results.
        workers: number of threads.
        ahead: how many items more than there are workers may be waiting or done, which bounds the
            memory.

    Yields:
        `function(item)` of each item.
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
    """The items of an iterable, which is iterated by another thread ahead of use.

        >>> from keras_crosscbam.parallel import prefetched
        >>> list(prefetched(range(3)))
        [0, 1, 2]

    Args:
        items: an iterable; closed in the end.
        ahead: how many items may be waiting to be used.
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
