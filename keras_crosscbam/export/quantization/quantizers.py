"""Quantizers of float networks, one for each runtime.

Each function writes a file and returns the number of its convolutions with INT8 weights, and the
number of all convolutions, as read from the file. Their arguments are:

    network: the float network, an `.onnx` file or a Keras model.
    path: the file to write.
    inputs: list of prepared input arrays for calibration.
    exclude: as in `float_nodes`.
    description: the `Description` of the file.
"""

from keras_crosscbam.export.litert import converted, converter, frozen_function
from keras_crosscbam.export.openvino import write_xml
from keras_crosscbam.export.quantization.float_layers import float_nodes
from keras_crosscbam.export.quantization.graphs import (
    count_int8,
    litert_nodes,
    onnx_nodes,
    openvino_nodes,
)
from keras_crosscbam.export.verified import quiet
from keras_crosscbam.runtime.description import METADATA, write_beside


def for_onnxruntime(network, path, inputs, exclude, description):
    """Quantizes with unsigned activations, which are fast in ONNX Runtime on CPUs."""
    return _with_scale_nodes(network, path, inputs, exclude, description, "QUInt8")


def for_tensorrt(network, path, inputs, exclude, description):
    """Quantizes to the form that TensorRT accepts: signed, symmetric, with biases in float.

    Only the inputs and weights of convolutions are quantized; TensorRT fuses the other operations.
    """
    return _with_scale_nodes(
        network,
        path,
        inputs,
        exclude,
        description,
        "QInt8",
        op_types_to_quantize=["Conv"],
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": ["Conv"],
        },
    )


def _with_scale_nodes(network, path, inputs, exclude, description, activations, **settings):
    """Quantizes with ONNX Runtime, into QuantizeLinear and DequantizeLinear nodes."""
    import onnx
    from onnxruntime import quantization

    simplified = path.with_suffix(".simplified.onnx")
    try:
        with quiet():
            quantization.quant_pre_process(str(network), str(simplified), skip_symbolic_shape=True)
            model = onnx.load(simplified)
            for number, node in enumerate(model.graph.node):
                node.name = node.name or f"{node.op_type}_{number}"
            quantization.quantize_static(
                model,
                str(path),
                _Reader(model.graph.input[0].name, inputs),
                per_channel=True,
                activation_type=quantization.QuantType[activations],
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=sorted(float_nodes(onnx_nodes(model), exclude)),
                **settings,
            )
    finally:
        simplified.unlink(missing_ok=True)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA: description.to_json()})
    onnx.save(model, path)
    return count_int8(onnx_nodes(model))


class _Reader:
    """Calibration data reader for ONNX Runtime."""

    def __init__(self, name, inputs):
        self._feeds = iter([{name: array} for array in inputs])

    def get_next(self):
        return next(self._feeds, None)


def for_openvino(network, path, inputs, exclude, description):
    """Quantizes with NNCF's post-training quantization."""
    import nncf
    import openvino

    graph = openvino.convert_model(network)
    scope = nncf.IgnoredScope(names=sorted(float_nodes(openvino_nodes(graph), exclude)))
    with quiet():
        graph = nncf.quantize(
            graph,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=scope,
        )
    write_xml(graph, path, description)
    return count_int8(openvino_nodes(graph))


def for_litert(network, path, inputs, exclude, description):
    """Quantizes a Keras model with TensorFlow's post-training quantization."""
    import tensorflow as tf

    def frames():
        return ([array] for array in inputs)

    # The function is traced once, because names of operations may differ between traces.
    frozen = frozen_function(network, len(inputs[0]), description)
    nodes = litert_nodes(converted(converter(frozen).convert, network))
    prepared = converter(frozen)
    prepared.optimizations = [tf.lite.Optimize.DEFAULT]
    prepared.representative_dataset = frames
    # The converter can keep single operations in float only through the debugger.
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=sorted(float_nodes(nodes, exclude))
    )
    with quiet():
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=prepared, debug_dataset=frames, debug_options=options
        )
        content = debugger.get_nondebug_quantized_model()
    path.write_bytes(content)
    write_beside(path, description)
    return count_int8(litert_nodes(content))
