"""Fine-tuning in plain Keras: `compile` and `fit`, no trainer of this package's.

    $ python examples/fine_tune.py --data CamVid --epochs 5

Starts from the CamVid weights and freezes the encoder. With a data set of one's own, whose classes
have other names, the same weights get a new head. What stands here works in a notebook cell, too.
"""

import argparse

import keras

import keras_crosscbam as kc
from keras_crosscbam.datasets import evaluation_batches, steps_per_epoch, training_batches
from keras_crosscbam.training import PolySchedule, SegmentationCrossEntropy, SegmentationMeanIoU


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of CamVid")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, help="use only so many frames")
    parser.add_argument("--out", default="fine_tuned.keras")
    args = parser.parse_args()

    train = kc.datasets.load_camvid(args.data, "train")
    val = kc.datasets.load_camvid(args.data, "val")
    if args.frames:
        train, val = train.subset(range(args.frames)), val.subset(range(args.frames))

    model = kc.CrossCBAM_M(weights="camvid", classes=train.classes, input_shape=(None, None, 3))
    kc.freeze_backbone(model)
    steps = steps_per_epoch(train, args.batch)
    model.compile(
        optimizer=keras.optimizers.AdamW(PolySchedule(5e-4, steps * args.epochs)),
        loss=SegmentationCrossEntropy(),
        metrics=[SegmentationMeanIoU(train.classes.num_classes)],
    )
    model.fit(
        training_batches(train, (256, 320), args.batch, stop_step=steps * args.epochs),
        steps_per_epoch=steps,
        epochs=args.epochs,
        validation_data=evaluation_batches(val),
    )
    model.save(args.out)
    print(f"{args.out}: val mIoU {100 * kc.evaluate(args.out, val)['mean_iou']:.2f} %")


if __name__ == "__main__":
    main()
