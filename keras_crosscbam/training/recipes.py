"""Training recipes, by name.

>>> from keras_crosscbam.training import RECIPES
>>> RECIPES["cityscapes-m1"].epochs
160
"""

from keras_crosscbam.training.recipe import Phase, PretrainingRecipe, Recipe


def _paper(name, variant, crop_size, **changes):
    """Returns the paper's settings: SGD with L2, poly 0.9 from 0.01 to 1e-4, flip and crop.

    Paper, section 4.2. The paper does not say how it combines the focal loss with cross-entropy.
    The configuration that the authors published has cross-entropy on the main head and focal loss
    with gamma 2 on the auxiliary head.
    """
    return Recipe(
        name=name,
        variant=variant,
        phases=(Phase(changes.pop("epochs"), crop_size),),
        optimizer="sgd",
        learning_rate=0.01,
        end_learning_rate=1e-4,
        warmup_steps=0,
        weight_decay=5e-4,
        aux_loss="focal",
        aux_weight=1.0,
        validation_freq=10,
        **changes,
    )


def _cityscapes(variant, size):
    # 160,000 iterations. With the scales in the paper, 0.125 to 0.5, all frames would be at most
    # as large as the crop. The authors' configuration has 0.125 to 1.5. The decoded frames need
    # 24 GB of memory, so they are not cached.
    return _paper(
        f"cityscapes-{variant.lower()}",
        variant,
        size,
        epochs=160,
        steps_per_epoch=1000,
        batch_size=16,
        scale_range=(0.125, 1.5),
        validation_size=size,
        cache=False,
    )


def _camvid_paper(variant):
    # 10,000 iterations.
    return _paper(
        f"camvid-{variant.lower()}-paper",
        variant,
        (720, 960),
        epochs=100,
        steps_per_epoch=100,
        batch_size=24,
        scale_range=(0.5, 2.5),
    )


def _camvid(variant, suffix="", **changes):
    # For 367 frames and training on a CPU, which takes hours in bfloat16.
    return Recipe(
        name=f"camvid-{variant.lower()}{suffix}",
        variant=variant,
        phases=(Phase(80, (256, 320)), Phase(24, (360, 480))),
        class_balance=0.5,
        dtype_policy="mixed_bfloat16",
        **changes,
    )


def _camvid_enlarged(variant, **changes):
    # Frames of 360x480 at up to three times their size: the scores are computed at an eighth of
    # the input size, at which thin objects would be lost. Starts from weights of another training.
    return Recipe(
        name=f"camvid-{variant.lower()}-enlarged",
        variant=variant,
        class_balance=0.5,
        scale_range=(0.75, 3.0),
        validation_size=(720, 960),
        dtype_policy="mixed_bfloat16",
        **changes,
    )


def _finetune(variant):
    # For user-defined classes, from shipped weights: the encoder has a low learning rate.
    return Recipe(
        name=f"finetune-{variant.lower()}",
        variant=variant,
        phases=(Phase(30, (360, 480)),),
        weights="camvid",
        backbone_rate=0.1,
        class_balance=0.5,
    )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _cityscapes("M1", (512, 1024)),
        _cityscapes("L1", (512, 1024)),
        _cityscapes("M2", (768, 1536)),
        _cityscapes("L2", (768, 1536)),
        _camvid_paper("M"),
        _camvid_paper("L"),
        _camvid("M", backbone_weights="imagenet20"),
        _camvid("L", backbone_weights="imagenet20"),
        _camvid("S", narrowed_from="imagenet20"),
        _camvid("M", "-distilled", backbone_weights="imagenet20", teacher="camvid"),
        _camvid("S", "-distilled", narrowed_from="imagenet20", teacher="camvid"),
        _camvid_enlarged(
            "M",
            weights="runs/camvid-m/best.weights.h5",
            phases=(Phase(24, (360, 480)),),
            learning_rate=5e-4,
            validation_freq=4,
        ),
        _camvid_enlarged(
            "L",
            deepened_from="runs/camvid-m-enlarged/best.weights.h5",
            phases=(Phase(30, (360, 480)),),
        ),
        _finetune("M"),
        _finetune("L"),
    )
}


def _imagenet20(backbone, epochs, **changes):
    # 20 classes at 128 pixels. Takes an hour on a CPU and minutes on a GPU.
    return PretrainingRecipe(
        name=f"imagenet20-{backbone}",
        backbone=backbone,
        phases=(Phase(epochs, (96, 96)), Phase(4, (128, 128))),
        batch_size=64,
        warmup_steps=500,
        validation_freq=2,
        validation_size=128,
        label_smoothing=0.1,
        dtype_policy="mixed_bfloat16",
        **changes,
    )


def _imagenet219(backbone, phases, **changes):
    # The 20 classes above and the 200 of Tiny ImageNet, of which one is in both. Its images of 64
    # pixels are enlarged, because the deepest features would be only 2x2.
    return PretrainingRecipe(
        name=f"imagenet219-{backbone}",
        backbone=backbone,
        phases=phases,
        batch_size=64,
        warmup_steps=500,
        validation_freq=2,
        validation_size=128,
        label_smoothing=0.1,
        dtype_policy="mixed_bfloat16",
        **changes,
    )


def _imagenet1k(backbone):
    return PretrainingRecipe(
        name=f"imagenet1k-{backbone}",
        backbone=backbone,
        phases=(Phase(90, (224, 224)),),
        batch_size=512,
        validation_freq=1,
        optimizer="sgd",
        learning_rate=0.2,
        end_learning_rate=0.0,
        warmup_steps=12_500,
        weight_decay=1e-4,
        area_range=(0.1, 1.0),
        label_smoothing=0.1,
        cache=False,
    )


PRETRAINING_RECIPES = {
    recipe.name: recipe
    for recipe in (
        _imagenet20("stdc1", 16, learning_rate=2e-3),
        # From random weights STDC2, which has no residual connections, trains much more slowly.
        _imagenet20("stdc2", 6, learning_rate=1e-3, deepened_from="imagenet20"),
        _imagenet219(
            "stdc1",
            (Phase(10, (80, 80)), Phase(4, (112, 112))),
            learning_rate=1.5e-3,
            weights="imagenet20",
        ),
        _imagenet219(
            "stdc2",
            (Phase(6, (80, 80)), Phase(3, (112, 112))),
            learning_rate=1e-3,
            deepened_from="runs/imagenet219-stdc1/best.weights.h5",
        ),
        _imagenet1k("stdc1"),
        _imagenet1k("stdc2"),
    )
}
