"""One network in every format, small enough for NumPy to be its reference.

It is a 1x1 convolution of the pixels, whose scores are far enough apart.
"""

import numpy as np
import onnx
import openvino
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from keras_crosscbam.datasets import ClassTable
from keras_crosscbam.runtime.description import METADATA, Description, write_beside

CLASSES = 4
KERNEL = np.random.default_rng(3).normal(size=(3, CLASSES)).astype(np.float32)
BIAS = -128 * KERNEL.sum(axis=0)
TABLE = ClassTable(tuple("abcd"), ((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)))
SIZE = (16, 24)
NUMBERS = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "float16": TensorProto.FLOAT16}
NUMBERS |= {"int64": TensorProto.INT64, "int32": TensorProto.INT32, None: TensorProto.FLOAT}


def images(count=1, size=SIZE):
    """Squares of colors, so that areas of one class are larger than a pixel."""
    rng = np.random.default_rng(5)
    squares = rng.integers(0, 256, (count, size[0] // 4, size[1] // 4, 3), np.uint8)
    return squares.repeat(4, axis=1).repeat(4, axis=2)


def scores_of(pixels):
    return pixels.astype(np.float32) @ KERNEL + BIAS


def onnx_file(
    path,
    layout="nchw",
    pixels="float32",
    output="logits",
    batch=1,
    size=SIZE,
    labels_dtype="uint8",
    keep_axis=False,
    scores_layout=None,
    described=True,
    says_shape=True,
    classes=TABLE,
    kernel=KERNEL,
):
    """Writes the network as ONNX; None for a batch or a side leaves it open."""
    nodes, last = [], "image"

    def add(kind, *more, **attributes):
        nonlocal last
        name = f"{kind}{len(nodes)}"
        nodes.append(helper.make_node(kind, [last, *more], [name], **attributes))
        last = name

    if pixels != "float32":
        add("Cast", to=TensorProto.FLOAT)
    if layout == "nhwc":
        add("Transpose", perm=(0, 3, 1, 2))
    add("Conv", "kernel", "bias")
    sides, channels = list(size), kernel.shape[1]
    if output == "coarse_logits":
        add("AveragePool", kernel_shape=(4, 4), strides=(4, 4))
        sides = [side and side // 4 for side in sides]
    if output == "labels":
        add("ArgMax", axis=1, keepdims=int(keep_axis))
        add("Cast", to=NUMBERS[labels_dtype])
        channels = 1
    shape = [batch, channels, *sides]
    if (scores_layout or layout) == "nhwc" and (output != "labels" or keep_axis):
        add("Transpose", perm=(0, 2, 3, 1))
        shape = [batch, *sides, channels]
    if output == "labels" and not keep_axis:
        shape = [batch, *sides]
    dtype = labels_dtype if output == "labels" else "float32"
    nodes[-1].output[0] = output
    taken = kernel.shape[0]
    image_shape = [batch, taken, *size] if layout == "nchw" else [batch, *size, taken]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", NUMBERS[pixels], image_shape)],
        [helper.make_tensor_value_info(output, NUMBERS[dtype], shape if says_shape else None)],
        [
            numpy_helper.from_array(kernel.T[..., None, None].copy(), "kernel"),
            numpy_helper.from_array((-128 * kernel.sum(axis=0)).astype(np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if described:
        text = Description(layout, pixels, output, classes, {"precision": "fp32"}).to_json()
        helper.set_model_props(model, {METADATA: text})
    onnx.save(model, path)
    return path


def openvino_file(path, **written):
    """The network as OpenVINO IR."""
    model = openvino.convert_model(onnx_file(path.with_suffix(".onnx"), **written))
    text = Description(written.get("layout", "nchw"), output=written["output"], classes=TABLE)
    model.set_rt_info(text.to_json(), METADATA)
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


class Network(tf.Module):
    """The network in TensorFlow."""

    def __init__(self, output, pixels="float32", batch=1, size=SIZE):
        super().__init__()
        spec = tf.TensorSpec((batch, *size, 3), pixels, name="image")
        self.output = output
        self.kernel = tf.Variable(KERNEL[None, None])
        self.function = tf.function(self._run, input_signature=[spec])

    def _run(self, image):
        scores = tf.nn.conv2d(tf.cast(image, tf.float32), self.kernel, 1, "VALID") + BIAS
        if self.output == "labels":
            scores = tf.cast(tf.argmax(scores, axis=-1, output_type=tf.int32), tf.uint8)
        return {self.output: scores}


def saved_model(path, output="logits", described=True, **more):
    network = Network(output, **more)
    tf.saved_model.save(network, str(path), signatures=network.function)
    if described:
        pixels = more.get("pixels", "float32")
        write_beside(path, Description("nhwc", pixels, output, TABLE))
    return path


def tflite_file(path, output="logits", quantized=None, described=True):
    network = Network(output)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [network.function.get_concrete_function()], network
    )
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        frames = images(8).astype(np.float32)
        frames[0, 0, 0], frames[0, 0, 1] = 0, 255
        converter.representative_dataset = lambda: ([frame[None]] for frame in frames)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.dtypes.as_dtype(quantized)
        converter.inference_output_type = tf.dtypes.as_dtype(quantized)
    path.write_bytes(converter.convert())
    if described:
        write_beside(path, Description("nhwc", "uint8" if quantized else "float32", output, TABLE))
    return path
