"""A page in the browser that segments photos, short videos and webcam pictures.

>>> from keras_crosscbam.demo import networks, start
>>> start(networks(["m.onnx"]))  # doctest: +SKIP
"""

from keras_crosscbam.demo.networks import DemoNetwork, networks
from keras_crosscbam.demo.page import build, start

__all__ = ["DemoNetwork", "build", "networks", "start"]
