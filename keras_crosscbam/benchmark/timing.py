"""The course of a benchmark: load, warm up, take turns."""

import random
import time

from keras_crosscbam.image_channels import read_channels


def load_all(contenders, peers, say):
    """Loads the networks.

    Args:
        contenders: a dict of `Contender`s or `Worker`s by name, from which peers that cannot be
            run are taken out.
        peers: the names of those who may fail.
        say: a function that takes what is being done, as text.

    Returns:
        Two dicts by name: facts, and why peers were left out.

    Raises:
        ValueError, RuntimeError, ImportError: what a contender that is no peer raised, and a
            ValueError if no peer is left.
    """
    facts, left_out = {}, {}
    for name in list(contenders):
        say(f"loading {name}")
        try:
            facts[name] = contenders[name].load()
        except (ValueError, RuntimeError, ImportError) as error:
            if name not in peers:
                raise
            say(f"{name} is left out: {error}")
            left_out[name] = str(error)
            contenders.pop(name).close()
    if left_out and set(peers) <= set(left_out):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise ValueError(f"Expected a peer that runs. Received: {reasons}")
    return facts, left_out


def warm_up_all(contenders, scopes, turn_seconds, say):
    """Warms up for each scope; returns by name and scope what `Contender.warm_up` does."""
    found = {}
    for name, contender in contenders.items():
        say(f"warming up {name}")
        found[name] = {scope: contender.warm_up(scope, turn_seconds) for scope in scopes}
    return found


def take_turns(contenders, scope, calls, rounds, seed, say):
    """Times all contenders in each round, in shuffled order.

    Args:
        contenders: a dict of `Contender`s or `Worker`s by name, warmed up.
        scope: what a call comprises.
        calls: a dict of the number of calls of a turn.
        rounds: number of rounds.
        seed: of the order.
        say: a function that takes what is being done, as text.

    Returns:
        A dict by name: for each round a list of the calls' seconds.
    """
    shuffler = random.Random(seed)
    seconds = {name: [] for name in contenders}
    for index in range(rounds):
        say(f"{scope}: round {index + 1} of {rounds}")
        for name in shuffler.sample(list(contenders), len(contenders)):
            seconds[name].append(contenders[name].turn(scope, calls[name]))
    return seconds


def publish(contenders, protocols, limit, say):
    """Repeats published loops, one contender after the other.

    Returns:
        A list of dicts: `contender`, `protocol`, and the fields of `protocols.Published`.
    """
    published = []
    for protocol in protocols:
        for name, contender in contenders.items():
            say(f"the loop of {protocol}: {name}")
            result = contender.protocol(protocol, limit)
            published.append({"contender": name, "protocol": protocol, **result})
    return published


def processor_seconds(contenders, isolated):
    """Processor time that the benchmark has spent so far."""
    own = time.process_time()
    if isolated:
        own += sum(contender.usage()["cpu_seconds"] for contender in contenders.values())
    return own


SCOPES = {
    "network": "the network alone: prepared array in, raw output out",
    "copies": "plus copies: uint8 image of the network's size in, uint8 label map out",
    "file": "image file on disk in, decoded, uint8 label map of the image's own size out",
}
"""The scopes, each with the sentence that stands in reports."""


def images_per_call(scope, batch):
    """How many images one call takes: the file scope reads one, the others make up a batch."""
    return 1 if scope == "file" else batch


def stopwatch(scope, runtime, images, path, size=None):
    """A function from a number of calls to the list of their seconds.

    Args:
        scope: a key of `SCOPES`.
        runtime: the `Runtime`.
        images: uint8 `(batch, height, width, 3)`, for all but the file scope.
        path: the image file, for the file scope.
        size: what the file scope resizes to, for a network of any size.

    Raises:
        ValueError: for another scope.
    """
    if scope == "network":
        return network_stopwatch(runtime, runtime.prepare(images))
    if scope == "copies":
        return _wall_clock(lambda: runtime.labels(images))
    if scope == "file":
        return _wall_clock(lambda: runtime(read_channels(path, runtime.channels), size))
    raise ValueError(f"`scopes` must be among {tuple(SCOPES)}. Received: {scope!r}")


def network_stopwatch(runtime, prepared):
    """The stopwatch of the network alone on one prepared array.

    Runtimes that keep the array on a device between calls have a `time_device` of their own: the
    device's clock, without copies. What runs on the CPU has nothing to copy.
    """
    if hasattr(runtime, "time_device"):
        runtime.run(prepared)
        return lambda calls: [
            milliseconds / 1000
            for milliseconds in runtime.time_device(calls, batch=len(prepared), warm_up=0)
        ]
    return _wall_clock(lambda: runtime.run(prepared))


def _wall_clock(call):
    def seconds(calls):
        measured = []
        for _ in range(calls):
            started = time.perf_counter()
            call()
            measured.append(time.perf_counter() - started)
        return measured

    return seconds
