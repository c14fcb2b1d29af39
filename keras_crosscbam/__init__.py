"""Cross-CBAM: real-time semantic segmentation in Keras 3.

>>> import keras_crosscbam as kc
>>> model = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))  # doctest: +SKIP
>>> labels = kc.segment(model, "street.jpg")  # doctest: +SKIP

Keras is imported when it is needed: for models, layers, training and export. Exported files run
without it.
"""

from typing import TYPE_CHECKING

from keras_crosscbam._keras import register_with_keras
from keras_crosscbam._lazy import lazy_names
from keras_crosscbam._version import __version__ as __version__

if TYPE_CHECKING:
    from keras_crosscbam import (
        benchmark,
        datasets,
        doctor,
        export,
        flops,
        hub,
        layers,
        models,
        runtime,
        training,
        visualize,
    )
    from keras_crosscbam.benchmark.estimation import estimate
    from keras_crosscbam.benchmark.profiling import profile
    from keras_crosscbam.evaluation import evaluate
    from keras_crosscbam.explanation import explain
    from keras_crosscbam.manifest import list_weights
    from keras_crosscbam.models import (
        STDC,
        STDC1,
        STDC2,
        CrossCBAM,
        CrossCBAM_L,
        CrossCBAM_L1,
        CrossCBAM_L2,
        CrossCBAM_M,
        CrossCBAM_M1,
        CrossCBAM_M2,
        CrossCBAM_S,
        CrossCBAM_S1,
        CrossCBAM_S2,
        freeze_backbone,
        inference_model,
        with_input_size,
    )
    from keras_crosscbam.segmentation import segment
    from keras_crosscbam.tiling import Tiled
    from keras_crosscbam.variants import list_models
    from keras_crosscbam.video import segment_video
    from keras_crosscbam.weight_conversion import convert_weights

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
    "Tiled",
    "benchmark",
    "convert_weights",
    "datasets",
    "doctor",
    "estimate",
    "evaluate",
    "explain",
    "export",
    "flops",
    "freeze_backbone",
    "hub",
    "inference_model",
    "layers",
    "list_models",
    "list_weights",
    "models",
    "profile",
    "runtime",
    "segment",
    "segment_video",
    "training",
    "visualize",
    "with_input_size",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    __all__,
    {
        **{name: "models" for name in __all__ if name[0].isupper()},
        "Tiled": "tiling",
        "convert_weights": "weight_conversion",
        "estimate": "benchmark",
        "evaluate": "evaluation",
        "explain": "explanation",
        "freeze_backbone": "models",
        "inference_model": "models",
        "list_models": "variants",
        "list_weights": "manifest",
        "profile": "benchmark",
        "segment": "segmentation",
        "segment_video": "video",
        "with_input_size": "models",
    },
)

register_with_keras()
