"""Registers the classes of this package with Keras once Keras is imported.

`keras.saving.load_model` looks up the layers, losses and metrics of a saved file among the
registered classes, so they have to be registered before it is called. `import keras_crosscbam` does
not import Keras: the classes are registered as soon as Keras is imported, in either order.
"""

import contextlib
import importlib
import sys

from keras_crosscbam._import_hooks import around_import

REGISTERED = ("keras_crosscbam.layers", "keras_crosscbam.models", "keras_crosscbam.training")
"""Packages whose import registers classes."""

NEED_KERAS = (*REGISTERED, "keras_crosscbam.export", "keras_crosscbam.flops")
BACKENDS = ("tensorflow", "jax", "torch")


def register_with_keras():
    """Registers the classes of this package, now or as soon as Keras is imported."""
    if "keras" in sys.modules:
        _register()
    else:
        around_import(("keras", *NEED_KERAS), _registering)


def _register():
    for package in REGISTERED:
        importlib.import_module(package)


@contextlib.contextmanager
def _registering(_module):
    try:
        yield
        # The import is finished at this point, so no package is partially imported.
        _register()
    except ModuleNotFoundError as error:
        if error.name not in ("keras", *BACKENDS):
            raise
        raise ModuleNotFoundError(_what_to_install(error.name), name=error.name) from error


def _what_to_install(missing):
    if missing == "keras":
        return (
            "Models, layers, training and export need Keras, which is not installed: "
            "pip install 'keras-crosscbam[tensorflow]' (or [cpu], or [cuda]). Exported files run "
            "without it."
        )
    return (
        f"Keras is set to the backend {missing}, which is not installed. For TensorFlow: "
        "pip install 'keras-crosscbam[tensorflow]' (or [cpu], or [cuda]); for another backend "
        "install it and set KERAS_BACKEND=jax or torch. Exported files run without Keras."
    )
