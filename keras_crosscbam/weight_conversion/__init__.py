"""Converts weights of STDC and Cross-CBAM from PyTorch and Paddle, and to PyTorch."""

from keras_crosscbam.weight_conversion.conversion import TARGETS, Conversion, convert_weights

__all__ = ["TARGETS", "Conversion", "convert_weights"]
