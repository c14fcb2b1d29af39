"""Wraps Cross-CBAM as an `ImageSegmenter` of Keras Hub.

    $ pip install ".[tensorflow]" keras-hub
    $ python examples/keras_hub_task.py --weights camvid --preset preset

The task predicts, compiles and trains like the other segmenters of Keras Hub, and
`keras_hub.models.ImageSegmenter.from_preset` loads what `save_to_preset` wrote. Its default loss
takes one-hot labels and has no ignore label; compile it with
`keras_crosscbam.training.SegmentationCrossEntropy()` for masks with the label 255.

Keras Hub requires tensorflow-text, which installs `tensorflow`, not `tensorflow-cpu`.
"""

import argparse

import keras
import keras_hub
import numpy as np

import keras_crosscbam as kc
from keras_crosscbam.images import STREET, read_image


@keras.saving.register_keras_serializable("keras_crosscbam_hub")
class CrossCBAMBackbone(keras_hub.models.Backbone):
    """The network up to its logits, at the size of the image.

    Args:
        architecture: `"stdc1"` or `"stdc2"`.
        num_classes: number of classes; None for that of the weights.
        image_shape: `(height, width, 3)`; height and width may be None.
        weights: as in `keras_crosscbam.CrossCBAM`.
    """

    def __init__(
        self,
        architecture="stdc1",
        num_classes=None,
        image_shape=(None, None, 3),
        weights=None,
        dtype=None,
        **kwargs,
    ):
        model = kc.CrossCBAM(architecture, image_shape, num_classes=num_classes, weights=weights)
        super().__init__(inputs=model.input, outputs=model.output, dtype=dtype, **kwargs)
        self.architecture, self.num_classes = architecture, model.output.shape[-1]
        self.image_shape = tuple(image_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "architecture": self.architecture,
            "num_classes": self.num_classes,
            "image_shape": self.image_shape,
        }


@keras.saving.register_keras_serializable("keras_crosscbam_hub")
class CrossCBAMImageSegmenter(keras_hub.models.ImageSegmenter):
    """A task that outputs logits `(batch, height, width, classes)` for images of 0..255."""

    backbone_cls = CrossCBAMBackbone

    def __init__(self, backbone, preprocessor=None, **kwargs):
        super().__init__(inputs=backbone.input, outputs=backbone(backbone.input), **kwargs)
        self.backbone, self.preprocessor = backbone, preprocessor


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="camvid", help="name, path, or hf:// address")
    parser.add_argument("--preset", help="folder to save the task to, as a preset")
    args = parser.parse_args(argv)
    task = CrossCBAMImageSegmenter(CrossCBAMBackbone(weights=args.weights))
    image = read_image(STREET)
    labels = np.argmax(task.predict(image[None].astype("float32"), verbose=0)[0], axis=-1)
    shares = kc.visualize.class_shares(labels.astype(np.uint8), kc.datasets.CAMVID_CLASSES)
    for name, share in shares.items():
        print(f"{name:<12} {100 * share:5.1f} %")
    if args.preset:
        task.save_to_preset(args.preset)
        print(f"saved to {args.preset}")
    return task


if __name__ == "__main__":
    main()
