"""Compares the speed of networks in interleaved rounds."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.benchmark.contender import Contender, Task, allowed_cores, pinned
from keras_crosscbam.benchmark.machine import OtherWork, machine, state
from keras_crosscbam.benchmark.paper_protocols import PROTOCOLS
from keras_crosscbam.benchmark.report import Report
from keras_crosscbam.benchmark.timing import (
    SCOPES,
    load_all,
    processor_seconds,
    publish,
    take_turns,
    warm_up_all,
)
from keras_crosscbam.benchmark.worker_process import Worker
from keras_crosscbam.images import STREET, read_image

if TYPE_CHECKING:
    from keras_crosscbam.types import ModelLike, Size, StrPath


def benchmark(
    candidates: ModelLike | Sequence[ModelLike],
    against: ModelLike | Sequence[ModelLike] = (),
    *,
    scopes: Sequence[str] = tuple(SCOPES),
    rounds: int = 20,
    threads: int | None = None,
    image: StrPath | None = None,
    size: Size | None = None,
    batch: int = 1,
    isolate: bool | None = None,
    mixed_sizes: bool = False,
    paper_protocol: bool = False,
    turn_seconds: float = 0.3,
    protocol_seconds: float = 30.0,
    seed: int = 0,
    progress: bool = False,
) -> Report:
    """Measures the speed of networks in interleaved rounds, with confidence intervals.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.benchmark import benchmark
        >>> model = kc.CrossCBAM_M(num_classes=11, input_shape=(64, 96, 3))
        >>> report = benchmark(model, scopes=["network"], rounds=2, turn_seconds=0.01)
        >>> report.results()[0].ratio
        Interval(median=1.0, low=1.0, high=1.0)
        >>> report = benchmark(["m1.onnx"], against=["stdc1.onnx"], threads=2)  # doctest: +SKIP
        >>> print(report.table())  # doctest: +SKIP

    In each round every contender has one turn of several calls, in shuffled order. Ratios are
    computed within rounds and then summarized, so a temporary slowdown of the machine affects both
    contenders. Before the rounds, each contender is warmed up until the time of its calls is
    stable.

    Args:
        candidates: a model of `keras_crosscbam.runtime.load`, or a list of models: paths,
            specifications such as `"openvino:m1.onnx"`, `Runtime` objects, Keras models. A model
            given twice is measured twice, which shows the random variation.
        against: models to compare with, of the same kinds (peers). Ratios are relative to the first
            peer, or to the first candidate if there are no peers.
        scopes: keys of `SCOPES`: the parts of a timed call.
        rounds: number of rounds, at least 2.
        threads: number of processor cores to use, by affinity, and of threads of every runtime;
            None for all cores that this process may use. Loaded runtimes keep their threads.
        image: path of the image; None for the package's street photograph. Use an image similar to
            those that the network is for: computing labels from coarse scores takes longer with
            more borders between classes.
        size: `(height, width)` for networks of any size; None for the size of the image.
        batch: batch size for networks of any batch size.
        isolate: whether each contender runs in a separate process. None for yes, unless a
            contender is an object, which cannot be sent to another process.
        mixed_sizes: whether contenders may have different image sizes or batch sizes. Ratios are
            those of the time per image.
        paper_protocol: whether to also repeat the loops of published FPS figures, see `PROTOCOLS`.
        turn_seconds: approximate duration of a turn; a turn has at least 3 calls.
        protocol_seconds: maximum duration of each block of a published loop.
        seed: seed of the order of turns.
        progress: whether to print progress to standard error.

    Returns:
        A `Report`.

    Raises:
        ValueError: for arguments out of range, unreadable files, contenders of different sizes,
            and if no peer can be run. If some peers cannot be run, they are listed in the report.
        RuntimeError: if a runtime fails, or a contender's process ends.
        ImportError: for a candidate whose library is not installed.
    """
    candidates, against, scopes = _listed(candidates), _listed(against), _listed(scopes)
    _check(candidates, scopes, rounds, batch, size)
    models = [*candidates, *against]
    isolate = _isolated(models, isolate)
    path = Path(image or STREET)
    image_size = read_image(path).shape[:2]
    task = Task(str(path), size and (size[0], size[1]), batch, threads)
    names = names_of(models)

    def say(text):
        if progress:
            print(text, file=sys.stderr, flush=True)

    with contextlib.ExitStack() as stack:
        stack.enter_context(pinned(threads))
        start, contenders = Worker if isolate else Contender, {}
        for name, model in zip(names, models, strict=True):
            contenders[name] = start(model, task)
            stack.callback(contenders[name].close)
        peers = names[len(candidates) :]
        facts, left_out = load_all(contenders, peers, say)
        if not mixed_sizes:
            _check_sizes(facts)
        for name, warm_up in warm_up_all(contenders, scopes, turn_seconds, say).items():
            facts[name]["warm_up"] = warm_up
        before, others = state(), OtherWork()
        spent = processor_seconds(contenders, isolate)
        seconds = {}
        for scope in scopes:
            calls = {name: fact["warm_up"][scope]["turn_calls"] for name, fact in facts.items()}
            seconds[scope] = take_turns(contenders, scope, calls, rounds, seed, say)
        spent = processor_seconds(contenders, isolate) - spent
        conditions = {"before": before, "after": state(), "other_cores": others.cores(spent)}
        protocols = PROTOCOLS if paper_protocol else ()
        published = publish(contenders, protocols, protocol_seconds, say)
        if isolate:
            for name, contender in contenders.items():
                facts[name]["usage"] = contender.usage()
        setting = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "image": path.name,
            "image_size": list(image_size),
            "rounds": rounds,
            "threads": threads,
            "affinity": allowed_cores(),
            "isolated": isolate,
            "seed": seed,
        }
    return Report(
        setting=setting,
        machine=machine(),
        conditions=conditions,
        reference=next(name for name in peers or names if name not in left_out),
        contenders=facts,
        left_out=left_out,
        seconds=seconds,
        published=published,
    )


def _listed(value):
    return (
        [value]
        if isinstance(value, (str, os.PathLike)) or not hasattr(value, "__iter__")
        else [*value]
    )


def _check(candidates, scopes, rounds, batch, size):
    if not candidates:
        raise ValueError("Expected at least one candidate. Received: none. Pass a model file.")
    if not scopes or set(scopes) - set(SCOPES):
        raise ValueError(f"`scopes` must be among {tuple(SCOPES)}. Received: {scopes}")
    if size is not None and (isinstance(size, int) or len(size) != 2):
        raise ValueError(f"`size` must be (height, width). Received: {size}")
    for name, value, least in (("rounds", rounds, 2), ("batch", batch, 1)):
        if value < least:
            raise ValueError(f"`{name}` must be at least {least}. Received: {value}")


def _isolated(models, isolate):
    objects = [model for model in models if not isinstance(model, (str, os.PathLike))]
    if isolate and objects:
        raise ValueError(
            "Expected paths, because an object cannot be sent to another process. "
            f"Received: {objects[0]!r}. Save it to a file, or pass isolate=False."
        )
    return not objects if isolate is None else isolate


def _check_sizes(facts):
    inputs = {name: (fact["batch"], *fact["size"]) for name, fact in facts.items()}
    if len(set(inputs.values())) > 1:
        listed = ", ".join(f"{name} {_shape(shape)}" for name, shape in inputs.items())
        raise ValueError(
            f"Expected contenders that take images of the same size. Received: {listed}. Pass "
            "mixed_sizes=True (--mixed-sizes) to compare the time per image."
        )


def _shape(shape):
    return "x".join(map(str, shape))


def names_of(models):
    """Returns short and unique names of models.

        >>> from keras_crosscbam.benchmark.comparison import names_of
        >>> names_of(["out/m1.onnx", "openvino:out/m1.onnx", "out/m1.onnx"])
        ['m1.onnx', 'openvino:m1.onnx', 'm1.onnx #2']
        >>> names_of(["ours/net.onnx", "theirs/net.onnx"])
        ['ours/net.onnx', 'theirs/net.onnx']

    Args:
        models: paths, specifications `"engine:path"`, or objects with a `name`.

    Returns:
        A list of names: the file name, with the engine as a prefix; the complete path if two paths
        have the same file name; and a number as a suffix for equal models.
    """
    wholes = [_whole(model) for model in models]
    shorts = dict.fromkeys(wholes)
    for whole in shorts:
        engine, colon, path = whole.rpartition(":")
        shorts[whole] = f"{engine}{colon}{Path(path).name}"
    ambiguous = Counter(shorts.values())
    names, seen = [], Counter()
    for whole in wholes:
        name = shorts[whole] if ambiguous[shorts[whole]] == 1 else whole
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return names


def _whole(model):
    return (
        os.fspath(model)
        if isinstance(model, (str, os.PathLike))
        else str(getattr(model, "name", model))
    )
