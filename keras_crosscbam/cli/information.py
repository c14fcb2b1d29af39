"""Commands that print information about the models: flops, list."""

from keras_crosscbam.cli.arguments import VARIANT_NAMES, image_size, named_variant


def add_commands(command):
    sub = command(_flops, "flops", "Print parameters and multiply-accumulates per layer.")
    sub.add_argument("--variant", default="M1", help=f"{VARIANT_NAMES} (default: M1)")
    sub.add_argument("--size", type=image_size, help="HEIGHTxWIDTH; default: the variant's")

    command(_list, "list", "List the models and the shipped weights.")


def _flops(args):
    import keras_crosscbam as kc

    variant = named_variant(args)
    if isinstance(args.size, int):
        raise ValueError("multiply-accumulates need both sides: pass --size HEIGHTxWIDTH")
    model = kc.CrossCBAM(
        variant.backbone,
        input_shape=(None, None, 3),
        num_classes=variant.num_classes,
        alpha=variant.alpha,
    )
    print(kc.flops.table(model, args.size or variant.input_size))


def _list(args):
    import keras_crosscbam as kc

    print("Models:", ", ".join(kc.list_models()))
    print("Weights:")
    for name, entries in kc.list_weights().items():
        for entry in entries:
            figures = {"val_mean_iou": "val mIoU", "val_top1": "val top-1"}
            score = next(f"{figures[k]} {100 * v:.2f} %" for k, v in entry.items() if k in figures)
            print(f"  {name} for {entry['architecture']}: {score}, {entry['data']}")
