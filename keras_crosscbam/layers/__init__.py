"""Keras layers of Cross-CBAM. Each layer works in any Keras model on any backend."""

from keras_crosscbam.layers.attention import ChannelAttention, GateConv2D, SpatialAttention
from keras_crosscbam.layers.batch_norm import BatchNormalization
from keras_crosscbam.layers.ccbam import CCBAM
from keras_crosscbam.layers.conv import ConvBNReLU
from keras_crosscbam.layers.pooling import Square, UncountPadding
from keras_crosscbam.layers.resize import ResizeLike
from keras_crosscbam.layers.scores import Scores
from keras_crosscbam.layers.se_aspp import SEASPP

__all__ = [
    "CCBAM",
    "SEASPP",
    "BatchNormalization",
    "ChannelAttention",
    "ConvBNReLU",
    "GateConv2D",
    "ResizeLike",
    "Scores",
    "SpatialAttention",
    "Square",
    "UncountPadding",
]
