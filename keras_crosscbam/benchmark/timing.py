"""The steps of a benchmark: loading, warm-up, and timed turns."""

import random
import time

from keras_crosscbam.image_channels import read_channels


def load_all(contenders, peers, say):
    """Loads the networks.

    Args:
        contenders: a dict from name to `Contender` or `Worker`. Peers that cannot be run are
            removed from it.
        peers: the names of the contenders that may fail.
        say: a function that prints a progress message.

    Returns:
        Two dicts by name: the properties of contenders, and the reasons why peers cannot be run.

    Raises:
        ValueError, RuntimeError, ImportError: if a contender that is not a peer cannot be run, and
            a ValueError if no peer can be run.
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
        raise ValueError(f"Expected at least one peer that can be run. Received: {reasons}")
    return facts, left_out


def warm_up_all(contenders, scopes, turn_seconds, say):
    """Warms up for each scope; returns the results of `Contender.warm_up` by name and scope."""
    found = {}
    for name, contender in contenders.items():
        say(f"warming up {name}")
        found[name] = {scope: contender.warm_up(scope, turn_seconds) for scope in scopes}
    return found


def take_turns(contenders, scope, calls, rounds, seed, say):
    """Times all contenders in each round, in shuffled order.

    Args:
        contenders: a dict from name to `Contender` or `Worker`, warmed up.
        scope: a key of `SCOPES`.
        calls: a dict from name to the number of calls in a turn.
        rounds: number of rounds.
        seed: seed of the order.
        say: a function that prints a progress message.

    Returns:
        A dict from name to a list for each round, of the seconds of calls.
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
        A list of dicts: `contender`, `protocol`, and the fields of `paper_protocols.Published`.
    """
    published = []
    for protocol in protocols:
        for name, contender in contenders.items():
            say(f"the loop of {protocol}: {name}")
            result = contender.protocol(protocol, limit)
            published.append({"contender": name, "protocol": protocol, **result})
    return published


def processor_seconds(contenders, isolated):
    """Returns the processor time of the benchmark in seconds."""
    own = time.process_time()
    if isolated:
        own += sum(contender.usage()["cpu_seconds"] for contender in contenders.values())
    return own


SCOPES = {
    "network": "the network alone: prepared array in, raw output out",
    "copies": "plus copies: uint8 image of the network's size in, uint8 label map out",
    "file": "image file on disk in, decoded, uint8 label map of the image's own size out",
}
"""The scopes, with their descriptions for reports."""


def images_per_call(scope, batch):
    """Returns the number of images of a call: one for the file scope, a batch for the others."""
    return 1 if scope == "file" else batch


def stopwatch(scope, runtime, images, path, size=None):
    """Returns a function from a number of calls to the list of their seconds.

    Args:
        scope: a key of `SCOPES`.
        runtime: the `Runtime`.
        images: uint8 `(batch, height, width, 3)`, for all scopes except file.
        path: the image file, for the file scope.
        size: the size that images are resized to in the file scope, for a network of any size.

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
    """Returns the `stopwatch` of the network alone, for one prepared array.

    Runtimes that keep the array on a device between calls have a method `time_device`, which uses
    the device's clock, without copies. On the CPU there are no copies.
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
