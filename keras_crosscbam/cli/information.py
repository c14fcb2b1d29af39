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
            print(f"  {name} for {entry['architecture']}: {_score(entry)}, {entry['data']}")


def _score(entry):
    """Returns the most informative figure of a manifest entry as text."""
    figures = {"test_mean_iou": "test mIoU", "val_mean_iou": "val mIoU", "val_top1": "val top-1"}
    for name, title in figures.items():
        if entry.get(name) is not None:
            return f"{title} {100 * entry[name]:.2f} %"
    drives = (f"{d} {100 * f['mean_iou']:.2f} %" for d, f in entry.get("held_out", {}).items())
    return f"mIoU on held-out drives: {', '.join(drives)}"
