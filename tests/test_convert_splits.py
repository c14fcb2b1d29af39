"""Which images go into train and val."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_crosscbam.datasets.conversion.source import split_named
from keras_crosscbam.datasets.conversion.splits import assign, divide, groups_of
from keras_crosscbam.datasets.conversion.writing import names_of


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_groups_are_whole_and_both_parts_are_there(data):
    count = data.draw(st.integers(2, 30))
    groups = data.draw(st.lists(st.sampled_from("abcdefgh"), min_size=count, max_size=count))
    present = np.array(
        data.draw(st.lists(st.tuples(*[st.booleans()] * 4), min_size=count, max_size=count))
    )
    if len(set(groups)) < 2:
        with pytest.raises(ValueError, match=r"at least two images, or groups of images"):
            divide(present, groups, 0.2, seed=1)
        return
    is_val = divide(present, groups, 0.2, seed=1)
    assert 0 < is_val.sum() < count
    for group in set(groups):
        of_group = [judge for judge, g in zip(is_val, groups, strict=True) if g == group]
        assert all(of_group) or not any(of_group)
    np.testing.assert_array_equal(is_val, divide(present, groups, 0.2, seed=1))


def test_shares_of_classes():
    """Of 200 images, each of three classes of 100, 20 and 5 images has its share, within one."""
    rng = np.random.default_rng(0)
    present = np.zeros((200, 3), bool)
    for label, count in enumerate((100, 20, 5)):
        present[rng.choice(200, count, replace=False), label] = True
    is_val = divide(present, [str(i) for i in range(200)], 0.2, seed=3)
    assert abs(is_val.sum() - 40) <= 1
    np.testing.assert_allclose(present[is_val].sum(axis=0), [20, 4, 1], atol=1)


def test_a_class_of_two_images_is_in_both_parts():
    """At random it would be in train alone in most cases."""
    for seed in range(20):
        present = np.zeros((30, 2), bool)
        present[:, 0] = True
        present[[4, 20], 1] = True
        is_val = divide(present, [str(i) for i in range(30)], 0.2, seed)
        assert present[is_val, 1].sum() == 1


def test_a_class_of_one_image_is_trained_on():
    for seed in range(20):
        present = np.zeros((30, 2), bool)
        present[:, 0] = True
        present[7, 1] = True
        assert not divide(present, [str(i) for i in range(30)], 0.2, seed)[7]


def test_the_seed_decides():
    present, groups = np.ones((40, 1), bool), [str(i) for i in range(40)]
    assert (divide(present, groups, 0.2, 0) != divide(present, groups, 0.2, 1)).any()


def test_what_the_source_says_is_kept():
    present = np.ones((4, 1), bool)
    said = ["train", "val", None, "test"]
    splits, made = assign(said, present, list("abcd"), 0.2, 0)
    assert (splits, made) == (["train", "val", "train", "test"], False)
    splits, made = assign(["val", "val", "val", "test"], present, list("abcd"), 0.5, 0)
    assert made
    assert splits[3] == "test"
    assert set(splits[:3]) == {"train", "val"}


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("train2017", "train"),
        ("instances_val2017", "val"),
        ("valid", "val"),
        ("validation", "val"),
        ("test", "test"),
        ("trainval", None),
        ("default", None),
        ("trains", None),
        ("contest", None),
    ],
)
def test_names_of_splits(text, split):
    assert split_named(text) == split


def test_groups_are_what_the_pattern_finds():
    assert groups_of(["a1/x.jpg", "b2/y.jpg"], r"([a-z])\d/") == ["a", "b"]
    assert groups_of(["x", "y"], None) == ["x", "y"]


def test_names_of_images():
    places = ["leftImg8bit/train/bonn/a.b.png", "images/town/c.jpg", "d.jpg"]
    assert names_of(places) == ["bonn/a.b", "town/c", "d"]
    # Without their folders two would be one file.
    assert names_of(["train/a.jpg", "val/a.jpg"]) == ["train/a", "val/a"]
    with pytest.raises(ValueError, match=r"x/a.jpg and x/A.png would have the same name"):
        names_of(["x/a.jpg", "x/A.png"])
