from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st
from nyud_layers import CLASS_COUNT, MEANS, NYUDSegDataLayer, tops
from PIL import Image
from scipy.io import savemat

import caffe
from tests.helpers.layouts import refused, write_mat73

NYUD = "NYUDSegDataLayer"
TOPS = ("color", "depth", "hha", "label")


def expected(data, top, name):
    """The blob of one top, worked out anew."""
    if top == "label":
        rows = [[255 if v == 0 else v - 1 for v in row] for row in data.labels[name]]
        return np.array(rows, np.float32)[None, None]
    if top == "depth":
        logs = [[math.log(int(v)) for v in row] for row in data.depths[name]]
        array, mean = np.array(logs, np.float32)[..., None].astype(np.float64), [7.844]
    elif top == "hha":
        array, mean = data.hhas[name].astype(np.float64), [132.431, 94.076, 118.477]
    else:
        array, mean = data.images[name][..., ::-1].astype(np.float64), [116.190, 97.203, 92.318]
    return (array - mean).astype(np.float32).transpose(2, 0, 1)[None]


def assert_items(data, items, names, kinds):
    assert len(items) == len(names)
    for item, name in zip(items, names):
        for array, top in zip(item, kinds):
            np.testing.assert_array_equal(array, expected(data, top, name), err_msg=top)


def drawn(seed, ids, count):
    rng = random.Random(seed)
    return [ids[rng.randint(0, len(ids) - 1)] for _ in range(count)]


@pytest.fixture
def net(build, nyud):
    """net(kinds, **params) -> a net whose tops are a, b, c, …, in the order of `kinds`."""

    def net(kinds, phase=caffe.TRAIN, **params):
        params = {**nyud.params, "tops": list(kinds), **params}
        return build(NYUD, params, phase, "nyud_layers", "abcd"[: len(kinds)])

    return net


def test_every_choice_and_order_of_tops_gives_its_blobs(nyud, net, take):
    choices = [c for n in (1, 2, 3, 4) for c in itertools.permutations(TOPS, n)]
    assert len(choices) == 64
    for kinds in choices:
        assert_items(nyud, take(net(kinds, prefetch=0), 2), nyud.ids[:2], kinds)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_test_split_comes_in_file_order_and_wraps_around(nyud, net, take, prefetch):
    items = take(net(TOPS, prefetch=prefetch), 7)
    assert_items(nyud, items, nyud.ids + nyud.ids[:2], TOPS)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_trainval_split_is_drawn_as_python_random_draws_it(nyud, net, take, prefetch):
    made = net(("hha", "label"), split="trainval", seed=1337, prefetch=prefetch)
    assert_items(nyud, take(made, 20), drawn(1337, nyud.ids, 20), ("hha", "label"))


@pytest.mark.parametrize(
    "kinds, blobs, param_str",
    [
        (
            ("color", "label"),
            ("data", "label"),
            r"{\'tops\': [\'color\', \'label\'], \'seed\': 1337, "
            r"\'nyud_dir\': \'../../data/nyud\', \'split\': \'trainval\'}",
        ),
        (
            ("color", "depth", "label"),
            ("color", "depth", "label"),
            r"{\'tops\': [\'color\', \'depth\', \'label\'], \'seed\': 1337, "
            r"\'nyud_dir\': \'../../data/nyud\', \'split\': \'trainval\'}",
        ),
        (
            ("color", "hha", "label"),
            ("color", "hha", "label"),
            r"{\'tops\': [\'color\', \'hha\', \'label\'], \'seed\': 1337, "
            r"\'nyud_dir\': \'../../data/nyud\', \'split\': \'trainval\'}",
        ),
    ],
)
def test_the_fcn_references_own_layers_run(
    nyud, take, tmp_path, monkeypatch, kinds, blobs, param_str
):
    folder = tmp_path / "nets/nyud-fcn32s"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    lines = "".join(f'  top: "{top}"\n' for top in blobs)
    (folder / "trainval.prototxt").write_text(
        f'layer {{\n  name: "data"\n  type: "Python"\n{lines}  python_param {{\n'
        f'    module: "nyud_layers"\n    layer: "NYUDSegDataLayer"\n'
        f'    param_str: "{param_str}"\n  }}\n}}\n'
    )
    made = caffe.Net(str(folder / "trainval.prototxt"), caffe.TRAIN)
    assert_items(nyud, take(made, 6), drawn(1337, nyud.ids, 6), kinds)


def test_labels_turn_so_that_void_is_255_and_classes_start_at_0(nyud, net, take):
    savemat(
        nyud.root / "segmentation/img_5001.mat",
        {"segmentation": np.arange(42, dtype=np.uint8).reshape(6, 7) % 41},
    )
    ((label,),) = take(net(["label"]), 1)
    assert label.ravel().tolist() == [255, *range(40), 255]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float64])
@pytest.mark.parametrize("version", ["5", "7.3"])
def test_labels_of_every_number_type_and_version_are_read(nyud, net, take, kind, version):
    label = {"segmentation": nyud.labels["5001"].astype(kind)}
    path = nyud.root / "segmentation/img_5001.mat"
    write_mat73(path, label) if version == "7.3" else savemat(path, label)
    assert_items(nyud, take(net(["label"]), 1), ["5001"], ["label"])


def test_own_means_take_the_place_of_the_published_ones(nyud, net, take):
    published = take(net(TOPS), 1)[0]
    means = {"mean_bgr": (1, 2, 3), "mean_hha": [4, 5, 6], "mean_logd": 1.5}
    own = take(net(TOPS, **means), 1)[0]
    shifts = {"color": (1, 2, 3), "hha": (4, 5, 6), "depth": (1.5,)}
    for top, a, b in zip(TOPS, published, own):
        if top == "label":
            np.testing.assert_array_equal(a, b)
            continue
        change = np.array(MEANS[top]) - shifts[top]
        np.testing.assert_allclose(b - a, np.broadcast_to(change[:, None, None], a.shape[1:])[None])


def test_only_the_files_of_the_tops_need_to_be_there(nyud, net, take):
    for name in nyud.ids:
        (nyud.root / f"data/hha/img_{name}.png").unlink()
        (nyud.root / f"data/depth/img_{name}.png").unlink()
    NYUDSegDataLayer.check(nyud.params)
    assert_items(nyud, take(net(["color", "label"]), 5), nyud.ids, ["color", "label"])
    params = dict(nyud.params, tops=["hha"])
    refused(lambda: NYUDSegDataLayer.check(params), "img_5001.png: no such HHA image", "4 more")


def test_shrink_and_mirror_treat_every_top_alike(nyud, net, take):
    plain = take(net(TOPS, split="trainval", seed=7, shrink=2), 12)
    mirrored = take(net(TOPS, split="trainval", seed=7, shrink=2, mirror=True), 12)
    turned = set()
    for item, other, name in zip(plain, mirrored, drawn(7, nyud.ids, 12)):
        height, width = nyud.labels[name].shape
        assert {a.shape[2:] for a in item} == {((height + 1) // 2, (width + 1) // 2)}
        flip = not np.array_equal(item[0], other[0])
        turned.add(flip)
        for a, b in zip(item, other):
            np.testing.assert_array_equal(a[..., ::-1] if flip else a, b)
    assert turned == {False, True}


def test_restored_state_yields_what_an_uninterrupted_run_yields(net, take):
    first = net(TOPS, split="trainval")
    take(first, 3)
    state = json.loads(json.dumps(first.layers[0].state()))
    want = take(first, 6)
    second = net(TOPS, split="trainval")
    second.layers[0].restore_state(state)
    for a, b in zip(want, take(second, 6)):
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)


def test_class_count_is_the_classes(nyud):
    assert NYUDSegDataLayer.class_count(nyud.params) == CLASS_COUNT == 40
    assert NYUDSegDataLayer.class_count(dict(nyud.params, classes=13)) == 13


def test_classes_and_means_are_the_tasks(root):
    from prototxt.tasks import TASKS

    for name in ("nyud-rgb", "nyud-hha", "nyud-rgbd", "nyud-rgb-hha"):
        assert len(TASKS[name].classes) == CLASS_COUNT


@pytest.mark.slow
def test_importing_the_module_reads_and_prints_nothing(root):
    code = "import nyud_layers; print(sorted(nyud_layers.MEANS))"
    path = [str(root / "data_layers"), str(root / "engine")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path}; {code}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "['color', 'depth', 'hha']\n")


# what is wrong

PATHS = {
    "color": "data/images/img_5001.png",
    "depth": "data/depth/img_5001.png",
    "hha": "data/hha/img_5001.png",
    "label": "segmentation/img_5001.mat",
}


@pytest.mark.parametrize("top", TOPS)
def test_missing_files_are_named(nyud, net, top):
    (nyud.root / PATHS[top]).unlink()
    refused(lambda: net(TOPS), str(nyud.root / PATHS[top]), "no such")


@pytest.mark.parametrize("top", TOPS)
@pytest.mark.parametrize("kind", ["empty", "html", "cut"])
def test_damaged_files_are_named(nyud, net, top, kind):
    path = nyud.root / PATHS[top]
    data = path.read_bytes()
    html = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>\n" * 9
    path.write_bytes({"empty": b"", "html": html, "cut": data[: len(data) * 2 // 3]}[kind])
    refused(lambda: net(TOPS), str(path))


@pytest.mark.parametrize("top", TOPS)
def test_every_top_must_have_the_size_of_the_others(nyud, net, top):
    path = nyud.root / PATHS[top]
    if top == "label":
        savemat(path, {"segmentation": np.ones((5, 4))})
    else:
        pixels = np.ones((5, 4), np.uint16) if top == "depth" else np.ones((5, 4, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    refused(lambda: net(TOPS), str(path), "4x5", "12x9")


@pytest.mark.parametrize("value, dtype", [(41, np.uint8), (256, np.uint16), (-1, np.int16)])
def test_label_outside_the_classes_is_named_as_stored(nyud, net, value, dtype):
    label = nyud.labels["5001"].astype(dtype)
    label[3, 4] = value
    savemat(nyud.root / PATHS["label"], {"segmentation": label})
    told = f"stored label {value} at row 3, column 4", "1 to 40"
    refused(lambda: net(["label"]), PATHS["label"], *told)
    refused(lambda: net(["label"], classes=39), PATHS["label"], "1 to 39")


@pytest.mark.parametrize(
    "variables, told",
    [
        ({"labels": np.ones((9, 12))}, "holds no segmentation"),
        ({"segmentation": np.ones((9, 12, 2))}, "no label map"),
        ({"segmentation": np.full((9, 12), 1.5)}, "fractions"),
        ({"segmentation": "text"}, "no label map"),
        ({"segmentation": np.zeros((0, 0))}, "no label map"),
    ],
)
def test_label_file_with_something_else_is_named(nyud, net, variables, told):
    savemat(nyud.root / PATHS["label"], variables)
    refused(lambda: net(["color", "label"]), PATHS["label"], told)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA"])
def test_depth_that_is_not_16_bit_gray_is_refused(nyud, net, mode):
    Image.new(mode, (12, 9), 9).save(nyud.root / PATHS["depth"])
    refused(lambda: net(["depth"]), PATHS["depth"], f"depth in {mode} pixels", "16-bit")


def test_depth_with_holes_is_refused_with_their_place_and_number(nyud, net):
    depth = nyud.depths["5001"].copy()
    depth[2, 3] = depth[4, 1] = 0
    Image.fromarray(depth).save(nyud.root / PATHS["depth"])
    told = "depth 0 (not measured) at row 2, column 3", "2 pixels in all"
    refused(lambda: net(["color", "depth"]), PATHS["depth"], *told)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16"])
def test_hha_without_three_channels_is_refused(nyud, net, mode):
    Image.new(mode, (12, 9)).save(nyud.root / PATHS["hha"])
    refused(lambda: net(["hha"]), PATHS["hha"], "HHA in", "three 8-bit channels")


def test_a_huge_hha_image_is_refused_before_it_is_decoded(nyud, net, monkeypatch):
    import nyud_layers

    monkeypatch.setattr(nyud_layers, "MAX_PIXELS", 100)
    refused(lambda: net(["hha"]), PATHS["hha"], "12x9 pixels", "scale it down")


@pytest.mark.parametrize(
    "text, told", [("", "empty"), ("../5001\n", "test.txt:1"), (None, "no su")]
)
def test_wrong_split_files_are_named(nyud, net, text, told):
    path = nyud.root / "test.txt"
    path.unlink()
    if text is not None:
        path.write_text(text)
    refused(lambda: net(["label"]), str(path), told)


@pytest.mark.parametrize(
    "key, value",
    [
        ("tops", []),
        ("tops", "color"),
        ("tops", ["color", "rgb"]),
        ("tops", ["label", "label"]),
        ("tops", [["color"]]),
        ("tops", None),
        ("mean_bgr", (1, 2)),
        ("mean_hha", (1, 2, 3, 4)),
        ("mean_hha", 5),
        ("mean_logd", (1, 2)),
        ("mean_logd", float("nan")),
        ("mean_logd", "7.8"),
        ("classes", 0),
    ],
)
def test_values_of_wrong_kind_are_named(nyud, key, value):
    params = {**nyud.params, key: value}
    refused(lambda: NYUDSegDataLayer.ids(params), f"{NYUD}: {key} in param_str", "expected")


def test_number_of_tops_must_be_the_nets(nyud, build):
    call = lambda: build(NYUD, nyud.params, module="nyud_layers", tops=("a", "b", "c"))  # noqa: E731
    refused(call, "has 3 tops, but needs 2", "color")


@given(st.lists(st.sampled_from(TOPS), max_size=5))
def test_tops_are_taken_in_their_order_and_never_twice(names):
    if names and len(set(names)) == len(names):
        assert tops(names) == tuple(names)
        return
    with pytest.raises(ValueError):
        tops(names)


def test_a_published_frame_of_nyud_is_read(shared, nyud, net, take):
    frame = shared / "data" / "nyud-frame"
    if not frame.is_dir():
        pytest.skip("no frame of NYUDv2 in the shared data folder")
    for top, name in (("color", "color.png"), ("depth", "depth.png")):
        (nyud.root / PATHS[top]).write_bytes((frame / name).read_bytes())
    ((color, depth),) = take(net(["color", "depth"]), 1)
    assert color.shape == (1, 3, 425, 560) and depth.shape == (1, 1, 425, 560)
    assert np.isfinite(depth).all() and abs(depth.mean()) < 1  # within a factor e of the mean depth
    (nyud.root / PATHS["depth"]).write_bytes((frame / "rawdepth.png").read_bytes())
    refused(lambda: net(["depth"]), PATHS["depth"], "depth 0")
