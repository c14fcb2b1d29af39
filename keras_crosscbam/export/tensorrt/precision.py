"""In which precision the layers of an engine compute: read, not assumed.

What was asked for is no answer. With weak types a precision is a leave that TensorRT takes where
it is faster on this card; with strong types it is in the graph, and may have got lost there.
"""

import collections
import json
import re

# Words that TensorRT's versions use for a type, in lower case: "Half", "... FP16 format".
KINDS = {
    "INT8": r"\bint8\b",
    "FP8": r"\bfp8\b|\bfloat8",
    "BF16": r"\bbf16\b|\bbfloat",
    "FP16": r"\bfp16\b|\bhalf\b",
    "FP32": r"\bfp32\b|\bfloat\b",
}
# Layers that move or convert numbers, in an engine and in a network.
COPIES = {"reformat", "noop", "constant", "shuffle", "cast", "identity", "quantize", "dequantize"}
# Layers that compute on what a DequantizeLinear before them was given.
QUANTIZED = {"convolution", "deconvolution", "matrix_multiply"}


def engine_precisions(trt, engine):
    """Counts the layers of a built engine by the type of their first input.

    Args:
        trt: the TensorRT module.
        engine: an `ICudaEngine`, built with `ProfilingVerbosity.DETAILED`.

    Returns:
        Dict of `"INT8"`, `"FP16"`, `"TF32"`, `"FP32"`..., the number of layers; layers that only
        copy or convert are left out. `"fused"` are those of which the engine does not say what is
        inside, `"unknown"` those that it says nothing of.
    """
    inspector = engine.create_engine_inspector()
    counts = collections.Counter()
    for index in range(engine.num_layers):
        text = inspector.get_layer_information(index, trt.LayerInformationFormat.JSON)
        counts[layer_precision(text)] += 1
    return _sorted(counts)


def layer_precision(text):
    """The precision of one layer, from what the engine inspector says of it in JSON.

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
    # One entry "Format/Datatype" until TensorRT 10, "Format" and "DataType" since 11.
    entries = [str(value) for key, value in first.items() if "datatype" in key.lower()]
    precision = _kind(" ".join(entries))
    if precision == "FP32" and "tf32" in str(layer.get("TacticName", "")).lower():
        return "TF32"
    return precision


def network_precisions(network, tf32):
    """The same from a strongly typed network, whose types its engine keeps.

    Args:
        network: an `INetworkDefinition`.
        tf32: whether the builder may compute FP32 layers in TF32.

    Returns:
        Dict like that of `engine_precisions`. Convolutions and matrix products of dequantized
        numbers count as what was dequantized.
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
    """Without what is no floating point, most frequent first."""
    return {kind: count for kind, count in counts.most_common() if kind and count}
