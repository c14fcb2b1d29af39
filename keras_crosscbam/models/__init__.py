"""Model builders: `CrossCBAM`, its named variants, and the `STDC` encoders."""

from keras_crosscbam.manifest import list_weights
from keras_crosscbam.models.cross_cbam import CrossCBAM
from keras_crosscbam.models.cross_cbam_builders import (
    CrossCBAM_L,
    CrossCBAM_L1,
    CrossCBAM_L2,
    CrossCBAM_M,
    CrossCBAM_M1,
    CrossCBAM_M2,
    CrossCBAM_S,
    CrossCBAM_S1,
    CrossCBAM_S2,
)
from keras_crosscbam.models.stdc import STDC, STDC1, STDC2
from keras_crosscbam.models.surgery import freeze_backbone, inference_model, with_input_size
from keras_crosscbam.variants import list_models

__all__ = [
    "STDC",
    "STDC1",
    "STDC2",
    "CrossCBAM",
    "CrossCBAM_L",
    "CrossCBAM_L1",
    "CrossCBAM_L2",
    "CrossCBAM_M",
    "CrossCBAM_M1",
    "CrossCBAM_M2",
    "CrossCBAM_S",
    "CrossCBAM_S1",
    "CrossCBAM_S2",
    "freeze_backbone",
    "inference_model",
    "list_models",
    "list_weights",
    "with_input_size",
]
