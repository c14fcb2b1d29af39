"""Cross-CBAM: real-time semantic segmentation in Keras 3.

>>> import keras_crosscbam
>>> model = keras_crosscbam.CrossCBAM_M(weights="camvid")  # doctest: +SKIP
"""

from keras_crosscbam import flops, layers
from keras_crosscbam.models import *  # noqa: F403
from keras_crosscbam.models import __all__ as _models

__version__ = "0.1.0"
__all__ = [*_models, "flops", "layers"]
