"""Reader of polygons in the format of Cityscapes: one file `NAME_polygons.json` for each image.

Source: https://github.com/mcordts/cityscapesScripts, `preparation/json2labelImg.py`. The masks
agree with those of this script pixel by pixel.
"""

from keras_crosscbam.datasets.cityscapes import CITYSCAPES_CLASSES
from keras_crosscbam.datasets.conversion.annotations import Annotations, ClassList, Frame
from keras_crosscbam.datasets.conversion.drawing import Outlined, check_ring
from keras_crosscbam.datasets.conversion.source import get, size_of
from keras_crosscbam.datasets.listing import shorten_list

_ENDING = "_polygons.json"
_VOID = frozenset(("ego vehicle", "rectification border", "out of roi"))


def is_cityscapes(source):
    """Returns whether the source has files of polygons."""
    return bool(source.files(_ENDING))


def read(source):
    """Reads all files of polygons. Later objects are on top. A group has the label of its class."""
    files, contents, found, missing = source.files(_ENDING), {}, set(), []
    images = {}
    for image in source.images:
        if not _is_mask(image):
            images.setdefault(_stem(image.stem), []).append(image)
    for path in files:
        content = source.json(path)
        objects = get(content, "objects", list, str(path))
        contents[path] = [
            (get(item, "label", str, f"{path}: object {i}"), item, f"{path}: object {i}")
            for i, item in enumerate(objects)
            if not (isinstance(item, dict) and item.get("deleted"))
        ]
        found |= {label for label, *_ in contents[path]}
    known = found | set(CITYSCAPES_CLASSES.names)
    classes = ClassList([n for n in CITYSCAPES_CLASSES.names if n in _plain(found, known)], _VOID)
    for name in sorted(_plain(found, known)):
        classes.label(name)
    frames = []
    for path in files:
        stem = _stem(path.name.removesuffix(_ENDING))
        image = _image(source, images.get(stem, []), source.split(path))
        if image is None:
            missing.append(path.name)
            continue
        shapes = tuple(
            Outlined(classes.label(_class_of(label, known)), _ring(item, where))
            for label, item, where in contents[path]
        )
        size = size_of(source.json(path), "imgHeight", "imgWidth", str(path))
        split = source.split(path) or source.split(image)
        frames.append(Frame(image, path, shapes, size=size, split=split))
    if missing:
        raise ValueError(
            f"{source.images_root}: {len(missing)} files of polygons have no image or several: "
            f"{shorten_list(missing)}"
        )
    void = sorted(_VOID & found)
    notes = (f"ignored classes: {', '.join(void)}",) if void else ()
    colors = dict(zip(CITYSCAPES_CLASSES.names, CITYSCAPES_CLASSES.colors, strict=True))
    order = "later objects are drawn over earlier ones"
    return Annotations(tuple(classes.names), tuple(frames), order, "ignore", colors, notes)


def _ring(item, where):
    return check_ring(get(item, "polygon", list, where), where)


def _image(source, images, split):
    """Returns the image of a frame, or None. If several exist, the split must be the same."""
    if len(images) > 1:
        images = [image for image in images if source.split(image) == split]
    return images[0] if len(images) == 1 else None


def _stem(name):
    """Returns the name of a frame without the suffix of its image or annotation."""
    for ending in ("_leftImg8bit", "_gtFine", "_gtCoarse"):
        name = name.removesuffix(ending)
    return name


def _is_mask(image):
    return image.stem.endswith(
        ("_labelIds", "_labelTrainIds", "_instanceIds", "_color", "_rightImg8bit")
    )


def _class_of(label, known):
    single = label.removesuffix("group")
    # "polegroup" is a separate class in Cityscapes.
    return single if single in known and label != "polegroup" else label


def _plain(labels, known):
    return {_class_of(label, known) for label in labels}
