"""Reads the precision of the layers of an engine.

The requested precision is not always the actual one. In a weakly typed network, TensorRT uses a
precision only where it is faster on the GPU. In a strongly typed network, the types of the graph
are used, and a conversion may have changed them.
"""

import collections
import json
import re

# Names of types in the versions of TensorRT, such as "Half" or "... FP16 format", in lower case.
KINDS = {
    "INT8": r"\bint8\b",
    "FP8": r"\bfp8\b|\bfloat8",
    "BF16": r"\bbf16\b|\bbfloat",
    "FP16": r"\bfp16\b|\bhalf\b",
    "FP32": r"\bfp32\b|\bfloat\b",
}
# Layers that only copy or convert numbers, in an engine and in a network.
COPIES = {"reformat", "noop", "constant", "shuffle", "cast", "identity", "quantize", "dequantize"}
# Layers that compute in the type of the DequantizeLinear before them.
QUANTIZED = {"convolution", "deconvolution", "matrix_multiply"}


def engine_precisions(trt, engine):
    """Counts the layers of a built engine by the type of their first input.

    Args:
        trt: the TensorRT module.
        engine: an `ICudaEngine`, built with `ProfilingVerbosity.DETAILED`.

    Returns:
        Dict from `"INT8"`, `"FP16"`, `"TF32"`, `"FP32"`... to the number of layers, without layers
        that only copy or convert. `"fused"` counts layers whose content the engine does not report,
        `"unknown"` layers without any information.
    """
    inspector = engine.create_engine_inspector()
    counts = collections.Counter()
    for index in range(engine.num_layers):
        text = inspector.get_layer_information(index, trt.LayerInformationFormat.JSON)
        counts[layer_precision(text)] += 1
    return _sorted(counts)


def layer_precision(text):
    """Returns the precision of one layer, from the JSON of the engine inspector.

    >>> from keras_crosscbam.export.tensorrt.precision import layer_precision
    >>> layer_precision('{"LayerType": "gemm", "Inputs": [{"Format/Datatype": "Half"}]}')
    'FP16'
    """
    try:
        layer = json.loads(text)
    except ValueError:
        # Some versions do not escape quotes in names.
        return "unknown"
    if not isinstance(layer, dict):
        return "unknown"
    kind = str(layer.get("LayerType", "")).lower()
    if kind in COPIES:
        return None
    if "myelin" in kind or str(layer.get("Name", "")).startswith("{ForeignNode"):
        return "fused"
    first = (layer.get("Inputs") or [{}])[0]
    # The entry is "Format/Datatype" up to TensorRT 10, "Format" and "DataType" since 11.
    entries = [str(value) for key, value in first.items() if "datatype" in key.lower()]
    precision = _kind(" ".join(entries))
    if precision == "FP32" and "tf32" in str(layer.get("TacticName", "")).lower():
        return "TF32"
    return precision


def network_precisions(network, tf32):
    """Counts the layers of a strongly typed network, whose types the engine keeps.

    Args:
        network: an `INetworkDefinition`.
        tf32: whether the builder may compute FP32 layers in TF32.

    Returns:
        A dict as in `engine_precisions`. Convolutions and matrix products after a dequantization
        are counted by the type before it.
    """
    quantized, counts = {}, collections.Counter()
    for layer in map(network.get_layer, range(network.num_layers)):
        kind = layer.type.name.lower()
        if kind == "dequantize":
            quantized[layer.get_output(0).name] = layer.get_input(0).dtype.name
        elif kind not in COPIES:
            source = layer.get_input(0)
            stored = quantized.get(source.name) if kind in QUANTIZED else None
            counts[_kind(stored or source.dtype.name)] += 1
    if tf32:
        counts["FP32 or TF32"] = counts.pop("FP32", 0)
    return _sorted(counts)


def _kind(text):
    for kind, words in KINDS.items():
        if re.search(words, text.lower()):
            return kind
    return None


def _sorted(counts):
    """Returns the counts without unknown types, most frequent first."""
    return {kind: count for kind, count in counts.most_common() if kind and count}
