"""Models on the Hugging Face Hub: addresses `hf://user/name`, downloads, uploads.

>>> import keras_crosscbam as kc
>>> model = kc.CrossCBAM_M(weights="hf://user/name")  # doctest: +SKIP
>>> run = kc.runtime.load("hf://user/name@v1/m.onnx")  # doctest: +SKIP
>>> kc.hub.push("m.onnx", "user/name")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

from keras_crosscbam._lazy import lazy_names

if TYPE_CHECKING:
    from keras_crosscbam.hub.upload import push

__all__ = ["push"]

__getattr__, __dir__ = lazy_names(__name__, __all__, {"push": "upload"})
