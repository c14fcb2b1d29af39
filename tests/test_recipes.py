"""Recipes hold the paper's numbers, senseless ones are refused, and every field can be set."""

import json
import re
from dataclasses import asdict, fields, replace

import keras
import pytest

from keras_crosscbam.training import (
    PRETRAINING_RECIPES,
    RECIPES,
    SGD,
    AdamW,
    Phase,
    PretrainingRecipe,
    Recipe,
    SegmentationCrossEntropy,
    SegmentationFocalLoss,
    make_loss,
    with_settings,
)
from keras_crosscbam.training.optimizers import make_optimizer
from keras_crosscbam.variants import VARIANTS

ALL = {**RECIPES, **PRETRAINING_RECIPES}
TINY = Recipe(name="tiny", variant="M", phases=(Phase(2, (64, 96)),))
TINY_ENCODER = PretrainingRecipe(name="tiny", backbone="stdc1", phases=(Phase(2, (64, 64)),))

each = pytest.mark.parametrize("recipe", ALL.values(), ids=ALL)


# The recipes that ship


@pytest.mark.parametrize("recipes", [RECIPES, PRETRAINING_RECIPES])
def test_recipes_are_listed_by_their_names(recipes):
    assert recipes
    assert [recipe.name for recipe in recipes.values()] == list(recipes)


def test_every_variant_has_a_recipe_at_its_size():
    """The paper's for all six; ours for either encoder."""
    sizes = {
        (recipe.variant, phase.crop_size)
        for recipe in RECIPES.values()
        if recipe.optimizer == "sgd"
        for phase in recipe.phases
    }
    papers = [variant for variant in VARIANTS.values() if variant.paper_test_miou is not None]
    assert len(papers) == 6
    assert sizes == {(variant.name, variant.input_size) for variant in papers}
    assert [RECIPES[f"camvid-{v.lower()}"].variant for v in "ML"] == ["M", "L"]
    assert RECIPES["camvid-s"].variant == "S"
    for kind in ("imagenet20", "imagenet219", "imagenet1k"):
        backbones = [PRETRAINING_RECIPES[f"{kind}-{b}"].backbone for b in ("stdc1", "stdc2")]
        assert backbones == ["stdc1", "stdc2"]


# Iterations, batch, crop and scales (paper, section 4.2).
PAPER = {
    "cityscapes-m1": (160_000, 16, (512, 1024), (0.125, 1.5)),
    "cityscapes-l1": (160_000, 16, (512, 1024), (0.125, 1.5)),
    "cityscapes-m2": (160_000, 16, (768, 1536), (0.125, 1.5)),
    "cityscapes-l2": (160_000, 16, (768, 1536), (0.125, 1.5)),
    "camvid-m-paper": (10_000, 24, (720, 960), (0.5, 2.5)),
    "camvid-l-paper": (10_000, 24, (720, 960), (0.5, 2.5)),
}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_numbers(name):
    recipe = RECIPES[name]
    iterations = recipe.epochs * recipe.steps_per_epoch
    ((_, crop),) = ((phase.epochs, phase.crop_size) for phase in recipe.phases)
    assert (iterations, recipe.batch_size, crop, recipe.scale_range) == PAPER[name]
    assert recipe.photometric
    main, aux = (
        make_loss(s, focal_gamma=recipe.focal_gamma) for s in (recipe.loss, recipe.aux_loss)
    )
    assert type(main) is SegmentationCrossEntropy
    assert type(aux) is SegmentationFocalLoss
    assert aux.gamma == 2
    assert recipe.aux_weight == 1
    assert (recipe.class_balance, recipe.accumulate, recipe.ema) == (0, 1, 0)
    assert (recipe.dtype_policy, recipe.weights, recipe.backbone_rate) == ("float32", None, 1)

    optimizer = make_optimizer(recipe, iterations)
    assert type(optimizer) is SGD
    assert (optimizer.momentum, optimizer.l2, optimizer.weight_decay) == (0.9, 5e-4, None)
    schedule = optimizer._learning_rate
    rates = [float(schedule(step)) for step in (0, iterations / 2, iterations)]
    assert rates == pytest.approx([0.01, 9.9e-3 * 0.5**0.9 + 1e-4, 1e-4])


def test_cityscapes_is_judged_at_the_networks_size():
    for name in ("m1", "l1", "m2", "l2"):
        recipe = RECIPES[f"cityscapes-{name}"]
        assert recipe.validation_size == VARIANTS[name.upper()].input_size
    assert RECIPES["camvid-m-paper"].validation_size is None


def test_fine_tuning_starts_from_shipped_weights_with_a_gentle_encoder():
    assert RECIPES["finetune-m"].weights == "camvid"
    assert 0 < RECIPES["finetune-m"].backbone_rate < 1


@pytest.mark.parametrize("variant", ["m", "s"])
def test_distilled_recipes_add_l_as_a_teacher_and_nothing_else(variant):
    plain, taught = RECIPES[f"camvid-{variant}"], RECIPES[f"camvid-{variant}-distilled"]
    assert (taught.teacher, taught.teacher_variant) == ("camvid", "L")
    assert replace(taught, name=plain.name, teacher=None) == plain


def test_pretraining_on_219_classes_goes_from_stdc1_to_stdc2():
    shallow, deep = (PRETRAINING_RECIPES[f"imagenet219-{b}"] for b in ("stdc1", "stdc2"))
    assert shallow.weights == "imagenet20"
    assert shallow.phases == (Phase(10, (80, 80)), Phase(4, (112, 112)))
    assert (shallow.learning_rate, shallow.validation_freq) == (1.5e-3, 2)
    assert deep.deepened_from == "runs/imagenet219-stdc1/best.weights.h5"
    for recipe in (shallow, deep):
        assert (recipe.mixup, recipe.cutmix, recipe.rand_augment) == (0, 0, 0)


@pytest.mark.parametrize(
    ("field", "value"), [("mixup", -0.1), ("cutmix", float("nan")), ("rand_augment", 1.1)]
)
def test_mixing_beyond_its_range_is_refused(field, value):
    with pytest.raises(ValueError, match=rf"`{field}` must .*Received: {value}"):
        replace(TINY_ENCODER, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("appearance", 1.1), ("erasing", -0.1), ("rotation", 181.0)]
)
def test_augmentation_beyond_its_range_is_refused(field, value):
    with pytest.raises(ValueError, match=rf"`{field}` must be .*Received: {value}"):
        replace(TINY, **{field: value})


@each
def test_recipes_make_their_optimizer(recipe):
    optimizer = make_optimizer(recipe, 200_000)
    assert type(optimizer) is {"sgd": SGD, "adamw": AdamW}[recipe.optimizer]
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(1)
    layer.build((None, 2))
    optimizer.build(layer.trainable_variables)
    warm = recipe.warmup_steps
    assert float(optimizer.learning_rate) == pytest.approx(recipe.learning_rate / max(warm, 1))


def test_a_short_training_warms_up_for_a_tenth_of_it():
    recipe = replace(TINY, learning_rate=0.1, warmup_steps=200)
    assert float(make_optimizer(recipe, 1000).learning_rate) == pytest.approx(0.1 / 100)


def test_a_recipe_counts_the_epochs_of_all_phases():
    assert replace(TINY, phases=(Phase(3, (64, 64)), Phase(4, (32, 32)))).epochs == 7


# Senseless recipes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phases": ()}, r"`phases` must contain at least one phase.*Received: \(\)"),
        ({"batch_size": 0}, "`batch_size` must be at least 1. Received: 0"),
        ({"accumulate": 0}, "`accumulate` must be at least 1. Received: 0"),
        ({"validation_freq": -1}, "`validation_freq` must be at least 1. Received: -1"),
        ({"steps_per_epoch": 0}, "`steps_per_epoch` must be at least 1. Received: 0"),
        ({"ema": 1.0}, r"`ema` must be in \[0, 1\). Received: 1.0"),
        ({"ema": float("nan")}, r"`ema` must be in \[0, 1\). Received: nan"),
        ({"optimizer": "adam"}, r"`optimizer` must be one of \('adamw', 'sgd'\). Received: 'adam'"),
        ({"jit_compile": "yes"}, "`jit_compile` must be one of .*Received: 'yes'"),
        ({"dtype_policy": "float16"}, "`dtype_policy` must be one of .*Received: 'float16'"),
    ],
)
@pytest.mark.parametrize("recipe", [TINY, TINY_ENCODER], ids=["network", "encoder"])
def test_senseless_trainings_are_refused(recipe, change, message):
    with pytest.raises(ValueError, match=message):
        replace(recipe, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "XL"}, "`variant` must be one of .*'M1'.*Received: 'XL'"),
        ({"weights": "camvid", "backbone_weights": "x.weights.h5"}, "leave out `backbone_weights`"),
        ({"scale_range": (2.0, 1.0)}, r"`scale_range` must be .*Received: \(2.0, 1.0\)"),
        ({"scale_range": (0.0, 1.0)}, r"`scale_range` must be .*Received: \(0.0, 1.0\)"),
        ({"scale_range": 2.0}, "`scale_range` must be .*Received: 2.0"),
        ({"validation_size": 64}, r"`validation_size` must be \(height, width\).*Received: 64"),
        ({"loss": "hinge"}, "A loss must be one or more of .*Received: 'hinge'"),
        ({"aux_loss": "ce:-1"}, "a positive number"),
        ({"focal_gamma": -1.0, "aux_loss": "focal"}, "gamma"),
        ({"label_smoothing": 2.0}, "smoothing"),
    ],
)
def test_senseless_recipes_of_networks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


def test_unknown_encoders_are_refused():
    with pytest.raises(ValueError, match=r"`backbone` must be one of .*'resnet'"):
        replace(TINY_ENCODER, backbone="resnet")


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ((0, (64, 64)), "`epochs` must be a whole number of at least 1. Received: 0"),
        ((2.5, (64, 64)), "`epochs` must be a whole number of at least 1. Received: 2.5"),
        ((2, (64, -1)), "`crop_size` must be (height, width), two positive whole numbers"),
        ((2, (64,)), "two positive whole numbers. Received: (64,)"),
        ((2, 64), "two positive whole numbers. Received: 64"),
    ],
)
def test_senseless_phases_are_refused(phase, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Phase(*phase)


# Changes from the command line


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("phases=80x256x320", (Phase(80, (256, 320)),)),
        ("phases=2x64x96,1x128x192", (Phase(2, (64, 96)), Phase(1, (128, 192)))),
        ("batch_size=4", 4),
        ("steps_per_epoch=50", 50),
        ("steps_per_epoch=null", None),
        ("learning_rate=1e-4", 1e-4),
        ("learning_rate=1", 1.0),
        ("optimizer=sgd", "sgd"),
        ('optimizer="sgd"', "sgd"),
        ("jit_compile=true", True),
        ("jit_compile=auto", "auto"),
        ("photometric=false", False),
        ("weights=runs/a=b/best.weights.h5", "runs/a=b/best.weights.h5"),
        ("weights=null", None),
        ("scale_range=[0.5,2]", (0.5, 2)),
        ("validation_size=[360, 480]", (360, 480)),
        ("validation_size=null", None),
        ("loss=ce:0.5,focal:0.5", "ce:0.5,focal:0.5"),
        ('architecture={"fusion": null}', {"fusion": None}),
    ],
)
def test_settings_of_every_kind(setting, value):
    name = setting.partition("=")[0]
    changed = with_settings(TINY, [setting])
    assert getattr(changed, name) == value
    assert type(getattr(changed, name)) is type(value)
    assert changed == replace(TINY, **{name: value})


def test_several_settings_hold_together_and_the_last_word_counts():
    changed = with_settings(TINY, ["seed=1", "ema=0.9", "seed=2"])
    assert changed == replace(TINY, seed=2, ema=0.9)
    assert with_settings(TINY, []) == TINY


@each
def test_a_recipe_goes_through_json_and_settings_unchanged(recipe):
    """What `run.json` holds, said again field by field, makes the same recipe out of another."""
    written = json.loads(json.dumps(asdict(recipe)))
    phases = ",".join(
        "x".join(map(str, (phase["epochs"], *phase["crop_size"]))) for phase in written["phases"]
    )
    settings = [
        f"{name}={json.dumps(value)}" for name, value in written.items() if name != "phases"
    ]
    other = TINY if isinstance(recipe, Recipe) else TINY_ENCODER
    assert with_settings(other, [*settings, f"phases={phases}"]) == recipe


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("magic=1", "--set takes FIELD=VALUE of name, phases, batch_size, .*; got 'magic=1'"),
        ("seed", "--set takes FIELD=VALUE of .*; got 'seed'"),
        ("=1", "--set takes FIELD=VALUE of .*; got '=1'"),
        ("seed=one", "--set seed takes int; got 'one'"),
        ("seed=1.5", "--set seed takes int; got '1.5'"),
        ("seed=true", "--set seed takes int; got 'true'"),
        ("seed=", "--set seed takes int; got ''"),
        ("learning_rate=fast", "--set learning_rate takes float; got 'fast'"),
        ("learning_rate=null", "--set learning_rate takes float; got 'null'"),
        ("photometric=1", "--set photometric takes bool; got '1'"),
        ("photometric=True", "--set photometric takes bool; got 'True'"),
        ("steps_per_epoch=many", r"--set steps_per_epoch takes int \| None; got 'many'"),
        ("jit_compile=[1,2]", r"--set jit_compile takes bool \| str; got '\[1,2\]'"),
        ("scale_range=2", r"--set scale_range takes tuple\[float, float\]; got '2'"),
        ("scale_range=[1]", r"--set scale_range takes tuple\[float, float\]; got '\[1\]'"),
        ("scale_range=[1,true]", r"--set scale_range takes .*; got '\[1,true\]'"),
        ('scale_range=["1",2]', "--set scale_range takes "),
        ("phases=80", "--set phases takes EPOCHSxHEIGHTxWIDTH,...; got '80'"),
        ("phases=", "--set phases takes EPOCHSxHEIGHTxWIDTH,...; got ''"),
        ("phases=2x64", "--set phases takes EPOCHSxHEIGHTxWIDTH,...; got '2x64'"),
        ("phases=0x64x64", "--set phases takes EPOCHSxHEIGHTxWIDTH,...; got '0x64x64'"),
        ("phases=2x64x64x3", "--set phases takes EPOCHSxHEIGHTxWIDTH,...; got '2x64x64x3'"),
        ("phases=2x64x64,", "--set phases takes EPOCHSxHEIGHTxWIDTH,...; got '2x64x64,'"),
        ("architecture=fcn", "--set architecture takes dict; got 'fcn'"),
        ('architecture={"depth": 3}', r"`architecture` may contain .*Received: \['depth'\]"),
        ("ema=2", r"`ema` must be in \[0, 1\). Received: 2.0"),
        ("optimizer=adam", "`optimizer` must be one of"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(setting, message):
    with pytest.raises(ValueError, match=message) as raised:
        with_settings(TINY, [setting])
    assert "\n" not in str(raised.value)


def test_fields_of_networks_are_none_of_encoders():
    with pytest.raises(ValueError, match="got 'variant=M'"):
        with_settings(TINY_ENCODER, ["variant=M"])
    assert {f.name for f in fields(Recipe)} - {f.name for f in fields(PretrainingRecipe)}
