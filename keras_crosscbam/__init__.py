"""Cross-CBAM: real-time semantic segmentation in Keras 3.

>>> import keras_crosscbam as kc
>>> model = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))  # doctest: +SKIP
>>> labels = kc.segment(model, "street.jpg")  # doctest: +SKIP
"""

try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name in ("tensorflow", "jax", "torch"):
        raise ModuleNotFoundError(
            f"Keras is set to the backend {error.name}, which is not installed. For TensorFlow: "
            "pip install 'keras-crosscbam[tensorflow]' (or [cpu], or [cuda]); for another backend "
            "install it and set KERAS_BACKEND=jax or torch.",
            name=error.name,
        ) from error
    raise

from keras_crosscbam import datasets, export, flops, layers, runtime, training, visualize
from keras_crosscbam.evaluation import evaluate
from keras_crosscbam.models import *  # noqa: F403
from keras_crosscbam.models import __all__ as _models
from keras_crosscbam.segmentation import segment
from keras_crosscbam.weight_conversion import convert_weights

__version__ = "0.1.0"
__all__ = [
    *_models,
    "convert_weights",
    "datasets",
    "evaluate",
    "export",
    "flops",
    "layers",
    "runtime",
    "segment",
    "training",
    "visualize",
]
