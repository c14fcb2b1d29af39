"""Short names for those who compete."""

from collections import Counter
from pathlib import Path


def names_of(models):
    """A name for each model, all different, as short as that allows.

        >>> from keras_crosscbam.benchmark.naming import names_of
        >>> names_of(["out/m1.onnx", "openvino:out/m1.onnx", "out/m1.onnx"])
        ['m1.onnx', 'openvino:m1.onnx', 'm1.onnx #2']
        >>> names_of(["ours/net.onnx", "theirs/net.onnx"])
        ['ours/net.onnx', 'theirs/net.onnx']

    Args:
        models: paths, specifications `"engine:path"`, or objects with a `name`.

    Returns:
        A list of names: the file's, with the engine before it; the whole path where files of one
        name differ; a number behind those that are the same.
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
    return str(model) if isinstance(model, (str, Path)) else str(getattr(model, "name", model))
