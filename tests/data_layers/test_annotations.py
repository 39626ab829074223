"""COCO, labelme and CVAT: hand-written files give the pixels that their formats mean."""

from __future__ import annotations

import base64
import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from segmentation import label_files
from segmentation.annotations import coco, cvat, drawing, labelme, reading
from segmentation.annotations.drawing import Manner, Picture, Shape, label_map
from segmentation.params import DataError

from tests.helpers import no_files
from tests.helpers.layouts import refused

VOC = "VOCSegDataLayer"
NAMES = {"sky": 0, "car": 1, "tree": 2, "void": 255}
MANNER = Manner(NAMES, None, 255, 255, "later")


def inside(points, x, y):
    """Whether a point lies in an outline, by the even-odd rule: the plain definition."""
    odd = False
    for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]]):
        if (y1 <= y) != (y2 <= y) and (y - y1) * (x2 - x1) / (y2 - y1) + x1 <= x:
            odd = not odd
    return odd


def whole(part, size):
    """A mask of the whole picture, of a part and its place."""
    found = np.zeros(size, bool)
    mask, (top, left) = part
    found[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return found


def image_of(text, height, width):
    """Class numbers of a drawing: a character for each pixel."""
    return np.array([[int(c) for c in line] for line in text.split()]).reshape(height, width)


# -- drawing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_an_outline_has_the_pixels_whose_middles_it_goes_around(seed):
    rng = np.random.RandomState(seed)
    height, width = rng.randint(1, 14, 2).tolist()
    points = rng.uniform(-4, 18, (rng.randint(3, 9), 2))
    points = points if seed % 2 else np.round(2 * points) / 2  # through middles and corners
    wanted = [[inside(points.tolist(), c + 0.5, r + 0.5) for c in range(width)]
              for r in range(height)]  # fmt: skip
    found = whole(drawing.polygon(points.tolist(), (height, width)), (height, width))
    np.testing.assert_array_equal(found, wanted)


def test_outlines_that_touch_share_no_pixel_and_leave_none_out():
    rng = np.random.RandomState(5)
    apex = rng.uniform(2, 8, 2).tolist()
    corners = [(0, 0), (10, 0), (10, 10), (0, 10)]
    parts = [[corners[i], corners[(i + 1) % 4], tuple(apex)] for i in range(4)]
    counts = sum(whole(drawing.polygon(p, (10, 10)), (10, 10)).astype(int) for p in parts)
    np.testing.assert_array_equal(counts, np.ones((10, 10)))


def test_circles_and_turned_ellipses_have_the_pixels_within():
    size = 15, 17
    y, x = np.mgrid[:15, :17] + 0.5
    circle = whole(drawing.circle([(8, 7), (8, 11.2)], size), size)
    np.testing.assert_array_equal(circle, (x - 8) ** 2 + (y - 7) ** 2 <= 4.2**2 + 1e-12)
    flat = whole(drawing.ellipse(((8, 7), (6, 2), 0.0), size), size)
    np.testing.assert_array_equal(flat, ((x - 8) / 6) ** 2 + ((y - 7) / 2) ** 2 <= 1)
    turned = whole(drawing.ellipse(((8, 7), (2, 6), 90.0), size), size)
    np.testing.assert_array_equal(turned, flat)
    beyond = whole(drawing.ellipse(((-1, 20), (4, 8), 0.0), size), size)
    np.testing.assert_array_equal(beyond, ((x + 1) / 4) ** 2 + ((y - 20) / 8) ** 2 <= 1)


def test_a_box_turned_by_a_right_angle_stands_on_end():
    size = 10, 10
    lying, standing = (
        whole(drawing.box((points, angle), size), size)
        for points, angle in (([(3, 1), (7, 9)], 90.0), ([(1, 3), (9, 7)], 0.0))
    )
    np.testing.assert_array_equal(lying, standing)
    assert standing.sum() == 32 and standing[3:7, 1:9].all()


LOW, HIGH = (
    Shape("car", "box", ([(0, 0), (4, 2)], 0.0)),
    Shape("tree", "box", ([(2, 0), (6, 1)], 0)),
)


@pytest.mark.parametrize(
    "overlap, shapes, wanted",
    [
        ("later", (LOW, HIGH), "112222 111100"),
        ("later", (HIGH, LOW), "111122 111100"),
        ("smaller", (LOW, HIGH), "112222 111100"),
        ("smaller", (HIGH, LOW), "112222 111100"),
        ("void", (LOW, HIGH), "119922 111100"),
        ("void", (HIGH, LOW), "119922 111100"),
    ],
)
def test_overlaps_are_drawn_as_chosen(overlap, shapes, wanted):
    manner = MANNER._replace(overlap=overlap, unlabelled=0)
    found = label_map("x", Picture((2, 6), list(shapes)), None, manner)
    np.testing.assert_array_equal(np.where(found == 255, 9, found), image_of(wanted, 2, 6))


def test_crowds_lie_below_all_else_and_are_void_or_their_class():
    shapes = [LOW, HIGH._replace(crowd=True)]
    found = label_map("x", Picture((1, 6), shapes), None, MANNER._replace(unlabelled=0))
    assert found.tolist() == [[1, 1, 1, 1, 255, 255]]
    found = label_map("x", Picture((1, 6), shapes), None, MANNER._replace(crowd=None))
    assert found.tolist() == [[1, 1, 1, 1, 2, 2]]


def test_a_label_that_is_no_class_is_named_or_what_other_says():
    picture = Picture((1, 6), [LOW._replace(name="cart")])
    with pytest.raises(DataError, match="f.json: the label 'cart' is none of the classes .*car"):
        label_map("f.json", picture, None, MANNER)
    found = label_map("x", picture, None, MANNER._replace(other=2))
    assert found.tolist() == [[2, 2, 2, 2, 255, 255]]


# -- labelme --------------------------------------------------------------------------------------


def shape(label, kind, points, **more):
    return {"label": label, "shape_type": kind, "points": points, "flags": {}, **more}


def labelme_text(shapes, height=6, width=8, **more):
    made = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": "a.jpg"}
    size = {"imageData": None, "imageHeight": height, "imageWidth": width}
    return json.dumps({**made, **size, **more})


def png_text(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_labelme_files_are_drawn_shape_by_shape(tmp_path):
    mask = np.array([[1, 0, 1], [0, 1, 0]], bool)
    (tmp_path / "a.json").write_text(
        labelme_text([
            shape("sky", "rectangle", [[8, 3], [0, 0]]),
            shape("car", "polygon", [[1, 1], [5, 1], [5, 5], [1, 5]]),
            shape("tree", "circle", [[6.5, 4.5], [6.5, 5.5]]),
            shape("tree", "mask", [[2, 2], [4, 3]], mask=png_text(mask)),
            shape("nobody asks", "point", [[1, 1]]),
            shape("nobody asks", "linestrip", [[1, 1], [2, 2]]),
        ])
    )  # fmt: skip
    found = label_map("a", labelme.read(str(tmp_path / "a.json")), None, MANNER)
    wanted = image_of("00000000 01111000 01212000 91121929 91111222 99999929", 6, 8)
    np.testing.assert_array_equal(np.where(found == 255, 9, found), wanted)


@pytest.mark.parametrize(
    "text, said",
    [
        ("[1, 2]", "no annotations: a list"),
        ("{", "not JSON"),
        ('{"shapes": [' + "[" * 100_000 + "]" * 100_000 + "]}", "nested too deeply"),
        ('{"shapes": [NaN]}', "holds NaN, which is no number of JSON"),
        ('{"images": []}', "no labelme file: it has no list `shapes`"),
        (labelme_text([shape("car", "polygon", [[0, 0], [1, 1]])]), "needs 3 points, and has 2"),
        (labelme_text([shape("car", "polygon", [[0, 0], [1, 1], [1e400, 2]])]), "Infinity"),
        (labelme_text([{}]).replace("{}]", '{"label": "car", "points": [[0, 0], [1e400, 2]]}]'),
         "a coordinate is not a finite number"),
        (labelme_text([shape("car", "polygon", [[0, 0], [1, 1], [1e9, 2]])]), "beyond 1000000"),
        (labelme_text([shape("car", "polygon", [[0, 0], [1, "1"], [1, 2]])]), "each of x and y"),
        (labelme_text([shape("car", "star", [[0, 0], [1, 1], [1, 2]])]), "unknown shape_type"),
        (labelme_text([shape("", "polygon", [[0, 0], [1, 1], [1, 2]])]), "expected a text"),
        (labelme_text([shape("car", "mask", [[0, 0], [1, 1]], mask="AAAA")]), "no PNG in base64"),
        (labelme_text([shape("car", "mask", [[0, 0], [9, 9]], mask=png_text(np.eye(2) > 0))]),
         "its mask has 2x2 pixels, and its corners 10x10"),
        (labelme_text([shape("car", "polygon", [[0, 0], [1, 1], [10**400, 2]])]), "too large"),
        (labelme_text([shape("car", "mask", [[0, 0], [8, 1]], mask=png_text(np.ones((2, 9)) > 0))]),
         "a mask of 9x2 pixels in a smaller picture"),
        (labelme_text([], height=10**6, width=10**6), "are more than 178956970"),
        (labelme_text([], height="6"), "imageHeight, imageWidth: expected a whole number"),
    ],
)  # fmt: skip
def test_a_wrong_labelme_file_is_one_line_with_its_name(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError) as caught:
        label_map(str(tmp_path / "a.json"), labelme.read(str(tmp_path / "a.json")), None, MANNER)
    assert "a.json: " in str(caught.value) and said in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 + len(str(tmp_path))


# -- COCO -----------------------------------------------------------------------------------------

CATEGORIES = [{"id": 7, "name": "car"}, {"id": 3, "name": "tree"}]


def coco_file(path, annotations, height=4, width=5):
    images = [{"id": 42, "file_name": "val/a.jpg", "height": height, "width": width},
              {"id": 43, "file_name": "val/b.jpg", "height": 2, "width": 2}]  # fmt: skip
    annotations = [{"id": i, "image_id": 42, "category_id": 7, **a} for i, a in
                   enumerate(annotations)]  # fmt: skip
    made = {"images": images, "categories": CATEGORIES, "annotations": annotations}
    path.write_text(json.dumps(made))
    return str(path)


def compressed(counts):
    """Run lengths as COCO compresses them: the plain definition, number by number."""
    text = ""
    for i, count in enumerate(counts):
        x = count - counts[i - 2] if i > 2 else count
        while True:
            five, x = x & 31, x >> 5
            last = x == (-1 if five & 16 else 0)
            text += chr(48 + (five if last else five | 32))
            if last:
                break
    return text


def counts_of(mask):
    """Run lengths of a mask down its columns, the first of false."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.r_[False, flat, not flat[-1]]))
    return np.diff(np.r_[0, edges, flat.size][: len(edges) + 1] if edges.size else [0, flat.size]
                   ).tolist()  # fmt: skip


def test_coco_run_lengths_go_down_the_columns(tmp_path):
    path = coco_file(tmp_path / "c.json", [
        {"segmentation": {"size": [4, 5], "counts": [2, 3, 15]}, "iscrowd": 1},
        {"segmentation": {"size": [4, 5], "counts": compressed([12, 5, 3])}, "category_id": 3},
    ])  # fmt: skip
    pictures = coco.read(path)
    assert list(pictures) == ["val/a", "val/b"] and pictures["val/b"] == ((2, 2), [])
    found = label_map("x", pictures["val/a"], None, MANNER._replace(crowd=None, unlabelled=0))
    np.testing.assert_array_equal(found, image_of("01022 00020 10020 10020", 4, 5))


@pytest.mark.parametrize("seed", range(30))
def test_compressed_run_lengths_are_read_back(seed):
    rng = np.random.RandomState(seed)
    counts = (rng.geometric(0.05, rng.randint(1, 40)) * rng.choice([1, 40], 1)).tolist()
    assert coco.lengths(compressed(counts), sum(counts)) == counts


@pytest.mark.parametrize("seed", range(8))
def test_coco_masks_are_those_of_pycocotools(seed):
    tool = pytest.importorskip("pycocotools.mask")
    rng = np.random.RandomState(seed)
    height, width = rng.randint(3, 60, 2).tolist()
    mask = rng.rand(height, width) < rng.rand()
    encoded = tool.encode(np.asfortranarray(mask.astype(np.uint8)))
    runs = {"size": [height, width], "counts": encoded["counts"].decode()}
    np.testing.assert_array_equal(coco.drawn(runs, (height, width))[0], mask)
    outlines = [rng.uniform(-3, 63, 2 * n).tolist() for n in (3, 7)]
    wanted = tool.decode(tool.merge(tool.frPyObjects(outlines, height, width)))
    np.testing.assert_array_equal(coco.drawn(outlines, (height, width))[0], wanted)


def test_a_coco_square_has_the_pixels_of_its_corners(tmp_path):
    pytest.importorskip("pycocotools.mask")
    path = coco_file(tmp_path / "c.json", [{"segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}])
    found = label_map("x", coco.read(path)["val/a"], None, MANNER._replace(unlabelled=0))
    np.testing.assert_array_equal(found, image_of("00000 01110 01110 00000", 4, 5))


def test_without_pycocotools_its_name_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(DataError, match="package pycocotools, .* `pip install pycocotools`"):
        coco.drawn([[0, 0, 4, 0, 4, 4]], (5, 5))


@pytest.mark.parametrize(
    "segmentation, said",
    [
        ({"size": [4, 5], "counts": [2, 3, 16]}, "its runs are of 21 pixels, and it has 20"),
        ({"size": [4, 5], "counts": [2, 10**12]}, "beyond the picture's 20 pixels"),
        ({"size": [4, 5], "counts": [2, -3, 21]}, "beyond the picture's 20 pixels"),
        ({"size": [4, 5], "counts": [2, -3, 20]}, "a run of -3 pixels"),
        ({"size": [4, 5], "counts": [0] * 100}, "beyond the picture's 20 pixels"),
        ({"size": [4, 5], "counts": "ooooooooooooooooooo"}, "no compressed run lengths"),
        ({"size": [4, 5], "counts": compressed([2, 10**6])}, "beyond the picture's 20 pixels"),
        ({"size": [4, 5], "counts": compressed([20])[:-1] + "o"}, "cut off"),
        ({"size": [4, 5], "counts": "é!"}, "no compressed run lengths"),
        ({"size": [99999, 99999], "counts": [0]}, "its runs are of a picture of [99999, 99999]"),
        ({"counts": [0]}, "its runs are of a picture of None"),
        ({"size": [4, 5], "counts": {}}, "neither a text nor whole numbers"),
        ([[0, 0, 1, 1]], "needs 3 points"),
        ([[0, 0, 1, 1, 1e400, 0]], "not a finite number"),
        ([[0, 0, 1, 1, 1e18, 0]], "a coordinate is beyond"),
        ([["0", 0, 1, 1, 1, 0]], "not a finite number"),
        ([[0, 0, 1e6, 1e6] * 40], "longer than"),
    ],
)
def test_a_wrong_coco_segmentation_is_one_line_with_file_and_shape(tmp_path, segmentation, said):
    if "longer" in said:
        pytest.importorskip("pycocotools.mask")
    picture = Picture((4, 5), [Shape("car", "coco", segmentation)])
    with pytest.raises(DataError) as caught:
        label_map("c.json: image 'a'", picture, None, MANNER)
    assert str(caught.value).startswith("c.json: image 'a': shape 1 ('car', coco): ")
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"images": 3}, "it has no list `images`"),
        ({"images": [{"id": 1}]}, "images[0] lacks 'height'"),
        ({"images": [3]}, "images[0]: "),
        ({"categories": [{"id": [], "name": "car"}]}, "categories[0]: expected an id"),
        ({"categories": [*CATEGORIES, {"id": 7, "name": "bus"}]}, "id 7 is there twice"),
        ({"categories": [{"id": 1}]}, "categories[0] lacks 'name'"),
        (
            {"annotations": [{"image_id": 42, "category_id": 9, "segmentation": []}]},
            "category_id 9",
        ),
        ({"annotations": [{"image_id": 4, "category_id": 7, "segmentation": []}]}, "image_id 4"),
        ({"annotations": [{"image_id": 42, "category_id": 7}]}, "annotations[0]: has no segment"),
        (
            {"annotations": [{"image_id": {}, "category_id": 7, "segmentation": []}]},
            "expected an id",
        ),
    ],
)
def test_a_wrong_coco_file_is_one_line_with_its_name(tmp_path, change, said):
    path = coco_file(tmp_path / "c.json", [])
    found = json.loads((tmp_path / "c.json").read_text())
    (tmp_path / "c.json").write_text(json.dumps({**found, **change}))
    with pytest.raises(DataError) as caught:
        coco.read(path)
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value)
    assert "\n" not in str(caught.value)


# -- CVAT -----------------------------------------------------------------------------------------

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels><label><name>car</name></label></labels>
</job></meta>{}</annotations>"""


def cvat_file(path, inside, height=4, width=6, text=CVAT):
    image = f'<image id="0" name="x/a.png" width="{width}" height="{height}">{inside}</image>'
    path.write_text(text.replace("{}", image))
    return str(path)


def test_cvat_shapes_are_drawn_in_their_z_order(tmp_path):
    path = cvat_file(tmp_path / "c.xml", """
        <box label="car" source="manual" occluded="0" xtl="0.00" ytl="0.00" xbr="3.00" ybr="2.00"
          z_order="2"><attribute name="box">1</attribute></box>
        <polygon label="tree" points="2.00,0.00;6.00,0.00;6.00,3.00;2.00,3.00" z_order="1"/>
        <mask label="sky" rle="1, 2, 1, 2" left="1" top="2" width="3" height="2" z_order="3"/>
        <polyline label="nobody asks" points="0,0;1,1" z_order="0"/>
        <ellipse label="car" cx="5.5" cy="3.5" rx="0.50" ry="0.50" z_order="0"/>
        """)  # fmt: skip
    pictures = cvat.read(path)
    assert list(pictures) == ["x/a"]
    found = label_map("x", pictures["x/a"], None, MANNER)
    wanted = image_of("111222 111222 990022 990091", 4, 6)
    np.testing.assert_array_equal(np.where(found == 255, 9, found), wanted)


def test_an_element_far_too_long_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(cvat, "LONGEST", 1000)
    path = cvat_file(tmp_path / "c.xml", f'<polygon label="car" points="{"0,0;" * 300}1,1"/>')
    with pytest.raises(DataError, match="c.xml: an element of more than 1000 bytes"):
        cvat.read(path)


BOMB = """<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><annotations>{}</annotations>"""


@pytest.mark.parametrize(
    "inside, said",
    [
        ('<polygon label="car" points="0,0;1,1"/>', "needs 3 points, and has 2"),
        ('<polygon label="car" points="0,0;1,nan;2,2"/>', "expected a finite number, not nan"),
        ('<polygon label="car" points="0,0;1;2,2"/>', "expected points, each of x and y"),
        ('<polygon label="car"/>', "<polygon> lacks 'points'"),
        ('<box label="car" xtl="0" ytl="0" xbr="1e9" ybr="2"/>', "a coordinate is beyond"),
        ('<mask label="car" rle="1,9" left="0" top="0" width="2" height="2"/>', "a run of 9"),
        ('<mask label="car" rle="1,2" left="0" top="0" width="2" height="2"/>',
         "its runs are of 3 pixels, and it has 4"),
        ('<mask label="car" rle="1" left="0" top="0" width="999999" height="999999"/>',
         "larger than pictures are"),
        ('<mask label="car" rle="x" left="0" top="0" width="2" height="2"/>', "invalid literal"),
        ("<a>" * 40, "nested more than 32 deep"),
        ("<polygon", "not XML"),
    ],
)  # fmt: skip
def test_a_wrong_cvat_file_is_one_line_with_its_name(tmp_path, inside, said):
    path = cvat_file(tmp_path / "c.xml", inside)
    with pytest.raises(DataError) as caught:
        label_map(f"{path}: image 'a'", cvat.read(path)["x/a"], None, MANNER)
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, said",
    [
        (BOMB, "line 1: a document type, which CVAT does not write"),
        ("<html></html>", "no CVAT file: its root is no <annotations>"),
        ('<annotations><track id="0" label="car"></track></annotations>', "a CVAT video"),
    ],
)
def test_other_xml_is_refused(tmp_path, text, said):
    path = cvat_file(tmp_path / "c.xml", "", text=text)
    with pytest.raises(DataError) as caught:
        cvat.read(path)
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value)


# -- files ----------------------------------------------------------------------------------------

READERS = {"labelme": labelme.read, "coco": coco.read, "cvat": cvat.read}


@pytest.mark.parametrize("reader", READERS)
def test_a_file_far_too_large_is_refused_before_it_is_read(tmp_path, reader):
    (tmp_path / "large").write_bytes(b"{")
    os.truncate(tmp_path / "large", 50 << 30)
    with no_files.in_time(), pytest.raises(DataError, match="large: larger than"):
        READERS[reader](str(tmp_path / "large"))


def test_json_of_more_values_than_annotations_have_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_GROUPS", 100)
    (tmp_path / "a.json").write_text('{"shapes": [' + "[]," * 200 + "[]]}")
    with pytest.raises(DataError, match="a.json: more values than annotations have"):
        labelme.read(str(tmp_path / "a.json"))


@pytest.mark.parametrize("limit, said", [("MOST_POINTS", "points"), ("MOST_SHAPES", "shapes"),
                                         ("MOST_WORK", "too many pixels"),
                                         ("MOST_CROSSINGS", "too long")])  # fmt: skip
def test_drawing_is_bounded(monkeypatch, limit, said):
    monkeypatch.setattr(drawing, limit, 2)
    points = np.array([[0, 0], [9, 0], [9, 9], [0, 9]], float)
    with pytest.raises(DataError, match=f"^x: .*{said}"):
        label_map("x", Picture((10, 10), [Shape("car", "polygon", points)] * 3), None, MANNER)


# -- the layer ------------------------------------------------------------------------------------


def boxes(size, seed):
    """(corners, class numbers) of one box in a picture of `size`, void around."""
    rng = np.random.RandomState(seed)
    (top, bottom), (left, right) = (sorted(rng.choice(n + 1, 2, False).tolist()) for n in size)
    label = np.full(size, 255)
    label[top:bottom, left:right] = seed % 2
    return (left, top, right, bottom), label


@pytest.fixture(params=["labelme", "coco", "cvat"])
def annotated(request, voc):
    """A data set in VOC's layout whose labels are annotations of a box each: (data, params)."""
    images, annotations, elements = [], [], []
    folder = voc.root / "annotations"
    folder.mkdir()
    for seed, name in enumerate(voc.ids):
        size = voc.labels[name].shape
        (left, top, right, bottom), voc.labels[name] = boxes(size, seed)
        label = ("sky", "car")[seed % 2]
        (folder / f"{name}.json").write_text(labelme_text(
            [shape(label, "rectangle", [[left, top], [right, bottom]])], *size
        ))  # fmt: skip
        images.append({"id": seed, "file_name": f"{name}.jpg", "height": size[0], "width": size[1]})
        mask = voc.labels[name] != 255
        runs = {"size": list(size), "counts": compressed(counts_of(mask))}
        annotations.append({"image_id": seed, "category_id": seed % 2, "segmentation": runs})
        elements.append(
            f'<image name="{name}.jpg" width="{size[1]}" height="{size[0]}"><box label="{label}" '
            f'xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" z_order="0"/></image>'
        )
    categories = [{"id": 0, "name": "sky"}, {"id": 1, "name": "car"}]
    (voc.root / "val.json").write_text(json.dumps(
        {"images": images, "annotations": annotations, "categories": categories}
    ))  # fmt: skip
    (voc.root / "all.xml").write_text(CVAT.replace("{}", "".join(elements)))
    place = {"labelme": "annotations", "coco": "{split}.json", "cvat": "all.xml"}[request.param]
    return voc, dict(voc.params, annotations=place, names=NAMES, classes=3)


def test_the_layer_gives_what_annotations_draw(annotated, build, take):
    voc, params = annotated
    for name, (_, label) in zip(voc.ids, take(build(VOC, params), len(voc.ids))):
        np.testing.assert_array_equal(label[0, 0], voc.labels[name])


def test_an_annotation_of_another_size_is_named(annotated, build):
    voc, params = annotated
    path = voc.root / "JPEGImages" / f"{voc.ids[0]}.jpg"
    Image.new("RGB", (50, 50)).save(path)
    refused(
        lambda: build(VOC, params), "pixels, but", "50x50; they must be of one size", voc.ids[0]
    )


def test_an_id_without_an_annotation_is_named(annotated, build):
    voc, params = annotated
    Image.new("RGB", (50, 50)).save(voc.root / "JPEGImages" / "lonely.jpg")
    (voc.root / "ImageSets/Segmentation/val.txt").write_text("lonely\n")
    refused(lambda: build(VOC, params), "lonely")


def test_annotations_need_the_classes_of_their_labels(annotated, build):
    _, params = annotated
    refused(lambda: build(VOC, {**params, "names": None}), "names: is missing")
    refused(lambda: build(VOC, {**params, "annotations": "nowhere.json"}), "nowhere.json: no such")


def test_a_file_of_annotations_is_read_again_once_it_has_changed(tmp_path):
    path = coco_file(tmp_path / "c.json", [])
    assert label_files.entries(path)["val/a"].size == (4, 5)
    coco_file(tmp_path / "c.json", [], height=14)
    os.utime(path, ns=(1, 1))
    assert label_files.entries(path)["val/a"].size == (14, 5)
