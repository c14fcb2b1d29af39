"""Fine-tunes a network in plain Keras with `compile` and `fit`.

    $ python examples/fine_tune.py --data CamVid --epochs 5

Starts from the CamVid weights and freezes the encoder. For your own data set, whose classes have
other names, the weights are loaded with a new head. The code also works in a notebook.
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
    parser.add_argument("--frames", type=int, help="number of frames to use (default: all)")
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
        shuffle=False,  # the batches are shuffled already
    )
    model.save(args.out)
    print(f"{args.out}: val mIoU {100 * kc.evaluate(args.out, val)['mean_iou']:.2f} %")


if __name__ == "__main__":
    main()
