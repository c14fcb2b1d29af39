"""Small folders of annotations, one per format, each written from the format's own description.

All hold the same scene, `SCENE`, whose shapes have corners at whole pixels: a lake with an island
as a hole, and a boat over the lake. Drawing them in the wrong order or filling the hole shows.
"""

import base64
import io
import json
import zlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 12, 16
FRAMES = ("a", "b", "c", "d", "e")
LAKE = [(1, 1), (13, 1), (13, 11), (1, 11)]
ISLAND = [(3, 3), (6, 3), (6, 6), (3, 6)]
BOAT = [(8, 4), (15, 4), (15, 9), (8, 9)]

LAKE_MASK = np.zeros((HEIGHT, WIDTH), bool)
LAKE_MASK[1:11, 1:13] = True
WITHOUT_ISLAND = LAKE_MASK.copy()
WITHOUT_ISLAND[3:6, 3:6] = False
BOAT_MASK = np.zeros((HEIGHT, WIDTH), bool)
BOAT_MASK[4:9, 8:15] = True

NAMES = ("background", "lake", "boat")


def scene(hole=True):
    """Labels: background 0, lake 1, boat 2."""
    labels = np.where(WITHOUT_ISLAND if hole else LAKE_MASK, 1, 0).astype(np.uint8)
    labels[BOAT_MASK] = 2
    return labels


SCENE, FULL_SCENE = scene(), scene(hole=False)


def image(path, size=(HEIGHT, WIDTH), number=0, **save):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path, **save)
    return path


def images(folder, ending="jpg", names=FRAMES):
    return [image(folder / f"{name}.{ending}", number=i) for i, name in enumerate(names)]


def mask(path, array, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    if palette is not None:
        picture.putpalette(np.array(palette, np.uint8).ravel().tolist())
    picture.save(path)
    return path


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def counts_of(array):
    """COCO's uncompressed code: runs down the columns, the first one outside."""
    values = array.T.ravel().astype(int)
    runs, value, length = [], 0, 0
    for v in values:
        if v != value:
            runs.append(length)
            value, length = v, 0
        length += 1
    return [*runs, length]


def flat(points):
    return [float(number) for point in points for number in point]


def coco_content(names=FRAMES, compressed=False):
    """The boat comes first, so that the order of the file is the wrong one."""
    lake = {"size": [HEIGHT, WIDTH], "counts": counts_of(WITHOUT_ISLAND)}
    if compressed:
        from pycocotools import mask as coco

        lake = coco.encode(np.asfortranarray(WITHOUT_ISLAND.astype(np.uint8)))
        lake = {"size": lake["size"], "counts": lake["counts"].decode()}
    annotations = []
    for image_id in range(1, len(names) + 1):
        common = {"image_id": image_id, "iscrowd": 0}
        left = [(x, y) if x < 11 else (11, y) for x, y in BOAT]
        right = [(x, y) if x > 11 else (11, y) for x, y in BOAT]
        boat = {"category_id": 9, "segmentation": [flat(left), flat(right)], **common}
        annotations += [boat, {"category_id": 3, "segmentation": lake, **common}]
    return {
        "images": [
            {"id": i, "file_name": f"{name}.jpg", "height": HEIGHT, "width": WIDTH}
            for i, name in enumerate(names, start=1)
        ],
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations)],
        "categories": [{"id": 3, "name": "lake"}, {"id": 9, "name": "boat"}],
    }


def coco(root, compressed=False):
    images(root / "images")
    write(root / "annotations/instances_default.json", coco_content(compressed=compressed))
    return SCENE


def coco_compressed(root):
    return coco(root, compressed=True)


def coco_panoptic(root):
    """Ids are colors: R + 256 G + 65536 B; 0 is unlabeled."""
    ids = np.array([0, 7, 300], np.int64)[SCENE]
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    images(root / "val2017")
    content = coco_content()
    content["annotations"] = [
        {
            "image_id": i,
            "file_name": f"{name}.png",
            "segments_info": [{"id": 7, "category_id": 3}, {"id": 300, "category_id": 9}],
        }
        for i, name in enumerate(FRAMES, start=1)
    ]
    for name in FRAMES:
        mask(root / f"annotations/panoptic_default/{name}.png", rgb)
    write(root / "annotations/panoptic_default.json", content)
    return np.where(SCENE == 0, 255, SCENE - 1).astype(np.uint8)


def yolo(root):
    """Coordinates are shares of width and height; the boat comes first."""
    images(root / "images/train")
    images(root / "images/val", names=("f", "g"))
    lines = [
        " ".join([str(number), *(f"{x / WIDTH} {y / HEIGHT}" for x, y in ring)])
        for number, ring in ((1, BOAT), (0, LAKE))
    ]
    for split, names in (("train", FRAMES), ("val", ("f", "g"))):
        for name in names:
            write(root / f"labels/{split}/{name}.txt", "\n".join(lines))
    write(
        root / "data.yaml",
        "path: ../datasets/lakes\ntrain: images/train\nval: images/val\n"
        "names:\n  0: lake\n  1: boat\n",
    )
    return FULL_SCENE


def inclusive(ring):
    """The corners as pixels: the last column and row belong to the shape."""
    right, bottom = max(x for x, _ in ring), max(y for _, y in ring)
    return [[x - (x == right), y - (y == bottom)] for x, y in ring]


def labelme(root):
    images(root)
    for name in FRAMES:
        shapes = [
            {"label": "lake", "points": inclusive(LAKE), "shape_type": "polygon"},
            {"label": "boat", "points": inclusive(BOAT)[::2], "shape_type": "rectangle"},
            {"label": "buoy", "points": [[2, 2]], "shape_type": "point"},
        ]
        content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.jpg"}
        content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        write(root / f"{name}.json", content)
    return np.array([0, 2, 1], np.uint8)[FULL_SCENE]


def labelme_masks(root):
    """LabelMe's shape `mask`: a PNG of 0 and 1 in Base64, in a box of two corners."""
    buffer = io.BytesIO()
    Image.fromarray(WITHOUT_ISLAND[1:11, 1:13].astype(np.uint8)).save(buffer, "PNG")
    images(root)
    for name in FRAMES:
        lake = {"label": "lake", "points": [[1, 1], [12, 10]], "shape_type": "mask"}
        lake["mask"] = base64.b64encode(buffer.getvalue()).decode()
        boat = {"label": "boat", "points": inclusive(BOAT), "shape_type": "polygon"}
        content = {"shapes": [lake, boat], "imagePath": f"{name}.jpg", "imageData": None}
        write(root / f"{name}.json", content)
    return np.array([0, 2, 1], np.uint8)[SCENE]


def runs_of(array):
    """CVAT's code: runs along the rows, the first one outside."""
    return ", ".join(map(str, counts_of(array.T)))


def cvat_content(names=FRAMES, shapes=None):
    """The boat comes first and has the higher z_order."""
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in BOAT)
    lake = runs_of(WITHOUT_ISLAND[1:11, 1:13])
    shapes = shapes or (
        f'<polygon label="boat" source="manual" occluded="0" points="{points}" z_order="2"/>'
        f'<mask label="lake" source="manual" occluded="0" rle="{lake}" left="1" top="1" '
        'width="12" height="10" z_order="1"/>'
        '<points label="boat" points="1,1" z_order="3"/>'
    )
    labels = "".join(
        f"<label><name>{name}</name><color>{color}</color><attributes/></label>"
        for name, color in (("lake", "#0000ff"), ("boat", "#ff0000"))
    )
    frames = "".join(
        f'<image id="{i}" name="{name}.jpg" width="{WIDTH}" height="{HEIGHT}">{shapes}</image>'
        for i, name in enumerate(names)
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>{frames}</annotations>"
    )


def cvat(root):
    images(root / "images")
    write(root / "annotations.xml", cvat_content())
    return SCENE


def brush_code(array):
    """rle-pack by hand: four widths of lengths, then blocks of one repeated value each."""
    values = np.repeat(array.astype(np.uint8).ravel() * 255, 4)
    bits = f"{values.size:032b}" + f"{7:05b}" + "".join(f"{w - 1:04b}" for w in (3, 4, 8, 16))
    place = 0
    while place < values.size:
        end = place
        while end < values.size and values[end] == values[place] and end - place < 256:
            end += 1
        if end - place == 1:
            bits += f"0{0:02b}{0:03b}{values[place]:08b}"
        else:
            bits += f"1{2:02b}{end - place - 1:08b}{values[place]:08b}"
        place = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def label_studio_content(names=FRAMES):
    common = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    lake = {"format": "rle", "rle": brush_code(WITHOUT_ISLAND), "brushlabels": ["lake"]}
    boat = {
        "points": [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in BOAT],
        "closed": True,
        "polygonlabels": ["boat"],
    }
    result = [
        {"type": "brushlabels", "from_name": "brush", "to_name": "image", "value": lake, **common},
        {"type": "polygonlabels", "from_name": "poly", "to_name": "image", "value": boat, **common},
        {"type": "choices", "from_name": "c", "to_name": "image", "value": {"choices": ["good"]}},
    ]
    return [
        {
            "id": i,
            "data": {"image": f"/data/upload/1/0a1b2c3d-{name}.jpg"},
            "annotations": [
                {"id": 7, "was_cancelled": False, "ground_truth": False, "result": result}
            ],
            "predictions": [],
        }
        for i, name in enumerate(names)
    ]


def label_studio(root):
    images(root / "media")
    write(root / "project-1.json", label_studio_content())
    return np.array([0, 2, 1], np.uint8)[SCENE]


def supervisely(root):
    images(root / "ds0/img")
    classes = [("lake", "#0000FF"), ("boat", "#FF0000")]
    meta = [{"title": name, "shape": "any", "color": color} for name, color in classes]
    write(root / "meta.json", {"classes": meta, "tags": []})
    buffer = io.BytesIO()
    Image.fromarray(BOAT_MASK[4:9, 8:15]).save(buffer, "PNG")
    data = base64.b64encode(zlib.compress(buffer.getvalue())).decode()
    # The outline of a hole belongs to the lake, so that the island is one pixel larger.
    hole = [[2, 2], [6, 2], [6, 6], [2, 6]]
    for name in FRAMES:
        objects = [
            {
                "classTitle": "lake",
                "geometryType": "polygon",
                "points": {"exterior": inclusive(LAKE), "interior": [hole]},
            },
            {
                "classTitle": "boat",
                "geometryType": "bitmap",
                "bitmap": {"data": data, "origin": [8, 4]},
            },
        ]
        size = {"height": HEIGHT, "width": WIDTH}
        write(root / f"ds0/ann/{name}.jpg.json", {"size": size, "objects": objects})
    return SCENE


def cityscapes(root):
    for name in FRAMES:
        stem = f"bonn/bonn_00000{name}_000019"
        image(root / f"leftImg8bit/train/{stem}_leftImg8bit.png")
        objects = [
            {"label": "out of roi", "polygon": [[0, 0], [15, 0], [15, 0], [0, 0]]},
            {"label": "terrain", "polygon": inclusive(LAKE)},
            {"label": "cargroup", "polygon": inclusive(BOAT)},
        ]
        content = {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": objects}
        write(root / f"gtFine/train/{stem}_gtFine_polygons.json", content)
    return np.array([255, 0, 1], np.uint8)[FULL_SCENE]


def voc(root, labels=SCENE):
    """The palette of the devkit: background, aeroplane, bicycle; 255 is the void."""
    palette = np.zeros((256, 3), np.uint8)
    palette[1], palette[2], palette[255] = (128, 0, 0), (0, 128, 0), (224, 224, 192)
    array = labels.copy()
    array[0, 0] = 255
    images(root / "JPEGImages")
    for name in FRAMES:
        mask(root / f"SegmentationClass/{name}.png", array, palette)
    write(root / "ImageSets/Segmentation/train.txt", "a\nb\nc\n")
    write(root / "ImageSets/Segmentation/val.txt", "d\ne\n")
    write(root / "ImageSets/Segmentation/trainval.txt", "a\nb\nc\nd\ne\n")
    return array


def voc_of_cvat(root):
    """CVAT's Segmentation mask 1.1: colors of its own in labelmap.txt."""
    table = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nlake:1,2,3::\nboat:9,9,9::\n"
    write(root / "labelmap.txt", table)
    images(root / "JPEGImages")
    colors = np.array([(0, 0, 0), (1, 2, 3), (9, 9, 9)], np.uint8)
    for name in FRAMES:
        mask(root / f"SegmentationClass/{name}.png", colors[SCENE])
    return SCENE


def roboflow(root):
    for split, names in (("train", ("a", "b", "c")), ("valid", ("d", "e"))):
        images(root / split, names=names)
        for name in names:
            mask(root / f"{split}/{name}_mask.png", SCENE)
        write(
            root / f"{split}/_classes.csv", "Pixel Value, Class\n0, background\n1, lake\n2, boat\n"
        )
    return SCENE


def mapillary(root):
    colors = {
        "nature--lake": (0, 0, 200),
        "object--boat": (200, 0, 0),
        "void--unlabeled": (0, 0, 0),
    }
    labels = [
        {"name": name, "readable": name.split("--")[1], "color": color, "evaluate": name[0] != "v"}
        for name, color in colors.items()
    ]
    write(root / "config_v1.2.json", {"labels": labels, "version": "1.2"})
    table = np.array([(0, 0, 0), (0, 0, 200), (200, 0, 0)], np.uint8)
    for split, names in (("training", ("a", "b", "c")), ("validation", ("d", "e"))):
        images(root / f"{split}/images", names=names)
        for name in names:
            mask(root / f"{split}/v1.2/labels/{name}.png", table[SCENE])
    images(root / "testing/images", names=("t",))
    return np.array([255, 0, 1], np.uint8)[SCENE]


def ade20k(root):
    write(
        root / "objectInfo150.txt",
        "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.5\t9\t9\t1\tlake, pond\n2\t0.5\t9\t9\t0\tboat\n",
    )
    for split, names in (("training", ("a", "b", "c")), ("validation", ("d", "e"))):
        images(root / f"images/{split}", names=names)
        for name in names:
            mask(root / f"annotations/{split}/{name}.png", SCENE)
    return np.array([255, 0, 1], np.uint8)[SCENE]


def folders(root):
    images(root / "images")
    for name in FRAMES:
        mask(root / f"labels/{name}.png", SCENE)
    write(root / "classes.txt", "background\nlake\nboat\n")
    return SCENE


def suffix(root):
    images(root)
    for name in FRAMES:
        mask(root / f"{name}_mask.png", SCENE)
    write(root / "classes.txt", "background\nlake\nboat\n")
    return SCENE


def labelme_folders(root):
    """labelme_json_to_dataset numbers the classes of each file anew."""
    images(root)
    for i, name in enumerate(FRAMES):
        swap = i % 2
        array = np.array([0, 2, 1] if swap else [0, 1, 2], np.uint8)[SCENE]
        mask(root / f"{name}_json/label.png", array, [(0, 0, 0), (128, 0, 0), (0, 128, 0)])
        names = ["_background_", *(("boat", "lake") if swap else ("lake", "boat"))]
        write(root / f"{name}_json/label_names.txt", "\n".join(names))
    return SCENE


FOLDERS = {
    "coco": (coco, "coco"),
    "coco, compressed": (coco_compressed, "coco"),
    "coco-panoptic": (coco_panoptic, "coco-panoptic"),
    "yolo": (yolo, "yolo"),
    "labelme": (labelme, "labelme"),
    "labelme, masks": (labelme_masks, "labelme"),
    "cvat": (cvat, "cvat"),
    "label-studio": (label_studio, "label-studio"),
    "supervisely": (supervisely, "supervisely"),
    "cityscapes": (cityscapes, "cityscapes"),
    "voc": (voc, "voc"),
    "voc of CVAT": (voc_of_cvat, "voc"),
    "roboflow": (roboflow, "roboflow"),
    "mapillary": (mapillary, "mapillary"),
    "ade20k": (ade20k, "ade20k"),
    "folders": (folders, "folders"),
    "suffix": (suffix, "suffix"),
    "suffix, of LabelMe": (labelme_folders, "suffix"),
}
"""What writes each folder and returns the labels to expect, and the name of the format."""
