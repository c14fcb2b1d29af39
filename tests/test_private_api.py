"""Private names of other libraries: each works as `private_api` needs it, and only there.

A test fails here when an upgrade of Keras, TensorFlow or LiteRT renames or changes such a name.
"""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_crosscbam import private_api
from keras_crosscbam.layers import ConvBNReLU

ROOT = Path(__file__).parents[1]
FOLDERS = ("keras_crosscbam", "examples", "tools", "benchmarks")
MODULES_WITH_BACKENDS = {
    "keras_crosscbam/export/verified.py",
    "keras_crosscbam/layers/backend.py",
    "keras_crosscbam/training/distribution.py",
}
"""Where the package asks for Keras' backend: one module for a concern."""


def sources():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def defined_names(trees):
    """All names that this repository defines or assigns."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def is_private(name):
    named_tuple = ("_asdict", "_fields", "_make", "_replace")  # these are documented
    return name.startswith("_") and not name.startswith("__") and name not in named_tuple


def uses_of_private_names(tree, own):
    """Lines and names of what is private to another library, as far as the syntax tells."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            of_this_class = ast.unparse(node.value) in ("self", "cls", "super()")
            foreign = is_private(node.attr) and not (of_this_class and node.attr in own)
            if foreign or node.attr in ("raw_ops", "compat"):
                yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                modules = [f"{node.module}.{name}" for name in modules]
            for module in modules:
                library, *parts = module.split(".")
                named = {"src", "python", "compat", "raw_ops"} & set(parts)
                if library != "keras_crosscbam" and (named or any(map(is_private, parts))):
                    yield node.lineno, module
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(name.value):
                yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                overridden = is_from_a_library(base) and [
                    function.name
                    for function in node.body
                    if isinstance(function, ast.FunctionDef)
                    and is_private(function.name)
                    and hasattr(resolved(base), function.name)
                ]
                for name in overridden or ():
                    yield node.lineno, f"{node.name}.{name}"


def is_from_a_library(base):
    return ast.unparse(base).startswith(("keras.", "layers."))


def resolved(base):
    """The class of Keras that an expression such as `layers.Layer` names."""
    found = keras
    for part in ast.unparse(base).removeprefix("keras.").split("."):
        found = getattr(found, part)
    return found


def test_private_names_stand_in_one_module():
    trees = {name: ast.parse(text) for name, text in sources()}
    own = defined_names(tree for name, tree in trees.items() if not name.endswith("private_api.py"))
    found = {
        name: list(uses_of_private_names(tree, own))
        for name, tree in trees.items()
        if name != "keras_crosscbam/private_api.py"
    }
    assert {name: uses for name, uses in found.items() if uses} == {}


@pytest.mark.parametrize(
    "text",
    [
        "tensor._keras_history",
        "self._symbolic_build(data_batch=batch)",
        "tf.raw_ops.Add(x=x, y=x)",
        "tf.compat.v1.placeholder('float32')",
        "from keras.src import backend",
        "from tensorflow.python.framework import ops",
        "from tensorflow import compat",
        "import tensorflow.lite.python.convert",
        "getattr(layer, '_layers')",
        "class A(keras.Model):\n    def _maybe_symbolic_build(self): ...",
    ],
)
def test_the_scan_finds_what_it_is_for(text):
    assert len([*uses_of_private_names(ast.parse(text), set())]) == 1


def test_backends_are_told_apart_in_one_module_for_each_concern():
    asking = {
        name
        for name, text in sources()
        if name.startswith("keras_crosscbam/") and "backend.backend()" in text
    }
    assert asking == MODULES_WITH_BACKENDS


def test_every_function_has_a_test():
    functions = {
        name
        for name, value in vars(private_api).items()
        if not name.startswith("_") and callable(value)
    }
    tested = Path(__file__).read_text()
    assert {name for name in functions if f"private_api.{name}(" not in tested} == {
        "BuiltByExample"
    }
    assert "private_api.BuiltByExample, keras.Model" in tested


def test_flatten_layers_reaches_layers_inside_layers():
    inner = keras.Sequential([keras.Input((8, 8, 3)), ConvBNReLU(4)])
    model = keras.Sequential([keras.Input((8, 8, 3)), inner])
    kinds = [type(layer) for layer in private_api.flatten_layers(model)]
    assert kinds.count(keras.layers.Conv2D) == 1
    assert kinds.count(ConvBNReLU) == 1
    assert kinds.count(keras.Sequential) == 2


def shared_layer():
    """A graph with a layer that is called twice, and both calls."""
    image = keras.Input((4,))
    dense = keras.layers.Dense(4)
    first = dense(image)
    second = dense(keras.layers.ReLU()(first))
    return image, dense, first, second


def test_origin_tells_the_calls_of_a_layer_apart():
    image, dense, first, second = shared_layer()
    for tensor, source in ((first, image), (second, None)):
        operation, node, index = private_api.origin(tensor)
        assert (operation, index) == (dense, 0)
        assert len(node.input_tensors) == len(node.arguments.args) == 1
        assert source is None or node.input_tensors[0] is source
    left, right = keras.ops.split(image, 2, axis=-1)
    assert [private_api.origin(tensor)[2] for tensor in (left, right)] == [0, 1]


def test_nodes_are_in_the_order_of_the_calls():
    image, _, first, second = shared_layer()
    nodes = private_api.nodes_in_order(keras.Model(image, second))
    assert [type(node.operation).__name__ for node in nodes] == [
        "InputLayer",
        "Dense",
        "ReLU",
        "Dense",
    ]
    assert nodes[1].input_tensors[0] is image
    assert nodes[1].output_tensors[0] is first


def test_the_index_of_a_variable_is_its_place():
    variables = [keras.Variable([float(i)], name=f"v{i}") for i in range(3)]
    optimizer = keras.optimizers.SGD()
    optimizer.build(variables)
    assert [private_api.variable_index(optimizer, v.value) for v in variables] == [0, 1, 2]


def test_a_model_is_built_by_its_example():
    built = []

    class Model(private_api.BuiltByExample, keras.Model):
        def example_batch(self):
            built.append(True)
            return np.zeros((2, 4), "float32"), np.zeros((2, 3), "float32")

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        image = keras.Input((4,))
        model = Model(image, keras.layers.Dense(3)(image))
        model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    data = np.ones((4, 4), "float32"), np.ones((4, 3), "float32")
    model.fit(*data, batch_size=2, verbose=0)
    assert built == [True], "Keras does not call the method that is overridden any more"


def test_fused_batch_norm_equals_its_definition(rng):
    inputs = rng.normal(3, 2, size=(2, 4, 5, 3)).astype(np.float32)
    scale, offset = rng.normal(size=(2, 3)).astype(np.float32)
    outputs, mean, variance = private_api.fused_batch_norm(inputs, scale, offset, 1e-3)
    np.testing.assert_allclose(mean, inputs.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, inputs.var((0, 1, 2), ddof=1), rtol=1e-4)
    spread = np.sqrt(inputs.var((0, 1, 2)) + 1e-3)
    expected = (inputs - inputs.mean((0, 1, 2))) / spread * scale + offset
    np.testing.assert_allclose(outputs, expected, atol=1e-4)


def test_a_projective_transform_shifts():
    images = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    shift = np.float32([[1, 0, 1, 0, 1, 0, 0, 0]])
    moved = private_api.transform_projectively(images, shift, (3, 4), "NEAREST", 7.0)
    expected = np.concatenate([images[:, :, 1:], np.full((1, 3, 1, 1), 7.0)], axis=2)
    np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize("size", [(7, 5), (2, 3)])
def test_the_legacy_resize_takes_the_floor(rng, size):
    images = rng.normal(size=(1, 3, 4, 2)).astype(np.float32)
    rows, columns = (np.arange(n) * old // n for n, old in zip(size, (3, 4), strict=True))
    resized = private_api.resize_nearest_legacy(images, size)
    np.testing.assert_array_equal(resized, images[:, rows][:, :, columns])


def test_a_static_shape_is_forgotten():
    batches = tf.data.Dataset.from_tensors(np.ones((2, 8, 9, 3), np.float32)).map(
        lambda images: private_api.with_unknown_shape(images, (2, None, None, 3))
    )
    assert batches.element_spec.shape.as_list() == [2, None, None, 3]
    assert next(iter(batches)).shape == (2, 8, 9, 3)


def test_a_frozen_function_has_no_variables_and_converts_to_litert(rng):
    kernel = tf.Variable(rng.normal(size=(3, 3, 3, 4)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3))])
    def convolve(images):
        return tf.nn.conv2d(images, kernel, 1, "SAME")

    frozen = private_api.freeze(convolve.get_concrete_function())
    assert not frozen.variables
    content = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    schema = private_api.litert_schema()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    codes = [model.operatorCodes[op.opcodeIndex].builtinCode for op in model.subgraphs[0].operators]
    assert schema.BuiltinOperator.CONV_2D in codes


def test_litert_refuses_by_its_own_exception():
    @tf.function(input_signature=[tf.TensorSpec((2, 2))])
    def without_counterpart(x):
        return tf.linalg.eigh(x)[0]

    frozen = without_counterpart.get_concrete_function()
    with pytest.raises(private_api.litert_converter_error()):
        tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
