"""Trains a network from published STDC weights in plain Keras with `compile` and `fit`.

    $ python examples/finetune_from_stdc.py --stdc STDCNet813M_73.91.tar --data CamVid

The weights file is from PyTorch or Paddle and contains an STDC1 that is pretrained on ImageNet. The
decoder starts from random weights. The first phase trains the decoder only, the second phase also
trains the encoder.
"""

import argparse

import keras

import keras_crosscbam as kc
from keras_crosscbam.datasets import load_dataset
from keras_crosscbam.datasets.pipeline import (
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from keras_crosscbam.training import PolySchedule, SegmentationCrossEntropy, SegmentationMeanIoU


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stdc", required=True, help="PyTorch or Paddle file with an STDC1")
    parser.add_argument("--data", required=True, help="folder of the data set")
    parser.add_argument(
        "--epochs", type=int, default=20, help="number of epochs of each of the two phases"
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, nargs=2, default=(256, 320), help="height and width")
    parser.add_argument("--out", default="finetuned.keras")
    args = parser.parse_args()

    encoder = "stdc1_converted.weights.h5"
    print(kc.convert_weights(args.stdc, "stdc1", encoder))

    train, val = (load_dataset(args.data, split) for split in ("train", "val"))
    model = kc.CrossCBAM_M(
        backbone_weights=encoder, classes=train.classes, input_shape=(None, None, 3)
    )
    steps = steps_per_epoch(train, args.batch)
    for trainable, rate in ((False, 5e-4), (True, 1e-4)):
        kc.freeze_backbone(model, trainable)
        model.compile(
            optimizer=keras.optimizers.AdamW(PolySchedule(rate, steps * args.epochs)),
            loss=SegmentationCrossEntropy(),
            metrics=[SegmentationMeanIoU(train.classes.num_classes)],
        )
        model.fit(
            training_batches(train, tuple(args.crop), args.batch, stop_step=steps * args.epochs),
            steps_per_epoch=steps,
            epochs=args.epochs,
            validation_data=evaluation_batches(val),
            shuffle=False,  # the batches are shuffled already
        )
    model.save(args.out)
    print(f"{args.out}: val mIoU {100 * kc.evaluate(args.out, val)['mean_iou']:.2f} %")


if __name__ == "__main__":
    main()
