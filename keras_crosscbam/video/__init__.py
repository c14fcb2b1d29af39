"""Segmentation of videos, cameras and streams.

>>> import keras_crosscbam as kc
>>> for frame, labels in kc.segment_video(model, "drive.mp4", "overlay.mp4"):  # doctest: +SKIP
...     print((labels == 0).mean())
"""

from keras_crosscbam.video.segmentation import segment_video
from keras_crosscbam.video.sources import SourceLostError, is_video
from keras_crosscbam.video.writer import VideoWriter

__all__ = ["SourceLostError", "VideoWriter", "is_video", "segment_video"]
