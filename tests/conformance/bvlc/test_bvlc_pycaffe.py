"""caffe.io, Classifier, Detector and caffe.draw: BVLC Caffe's Python modules and the engine's.

BVLC's are those of Debian 11, on scikit-image 0.18: its resizing smooths what it shrinks.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.conformance import both, report
from tests.conformance.nets import data, ip, layer, net

LIMIT = 2e-6  # float32 rounding, of values that are sums of products


def agree(scenario, args=None, arrays=None, limit=LIMIT, floor=0.0):
    theirs, ours = both.run_both(scenario, args, arrays)
    report.record("pycaffe", scenario, both.compare(theirs, ours, limit, floor))
    return theirs


def values(*shape, seed=0, dtype="f4"):
    return (np.random.RandomState(seed).rand(*shape) * (255 if dtype == "u1" else 1)).astype(dtype)


SIZES = [
    ((7, 9), (14, 18)), ((7, 9), (10, 13)), ((20, 30), (9, 11)), ((20, 30), (37, 11)),
    ((20, 30), (20, 13)), ((5, 5), (1, 1)), ((2, 2), (9, 3)), ((1, 1), (4, 5)), ((21, 17), (7, 40)),
]  # fmt: skip


def rounding_decides(order, old, new):
    """Whether a pixel lies halfway between two (nearest), or on the border (splines, which drop
    what is beyond it by as little as rounding)."""
    at = [(np.arange(want) + 0.5) * have / want - 0.5 for have, want in zip(old, new)]
    if order == 0:
        return any((np.abs(x - np.floor(x) - 0.5) < 1e-9).any() for x in at)
    return order in (2, 4, 5) and any(
        (np.abs(x) < 1e-9).any() or (np.abs(x - have + 1) < 1e-9).any() for x, have in zip(at, old)
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("order", range(6))
def test_pictures_are_resized_alike(order, channels):
    sizes, images = {}, {}
    for i, (old, new) in enumerate(SIZES):
        if channels in (1, 3) and rounding_decides(order, old, new):
            continue
        for dtype in ("f4", "f8", "u1"):
            name = f"{i} {dtype}"
            sizes[name], images[name] = new, values(*old, channels, seed=i, dtype=dtype)
    agree("resized", {"sizes": sizes, "order": order}, images)


def test_a_constant_picture_is_resized_alike():
    agree("resized", {"sizes": {"a": [4, 9]}, "order": 1}, {"a": np.full((3, 5, 3), 7.5)})


@pytest.fixture
def files(tmp_path):
    """Pictures of every kind: {name: path}."""
    colours = Image.fromarray(values(6, 7, 3, dtype="u1"))
    alpha = Image.fromarray(values(6, 7, 4, dtype="u1"))
    grey = colours.convert("L")
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray((values(6, 7) * 65535).astype(np.uint16))
    floats = Image.fromarray(values(6, 7))
    few = Image.fromarray(values(7, 9, dtype="u1") // 64)
    few.putpalette([10, 20, 30, 200, 100, 50, 0, 255, 0, 90, 80, 250])
    pictures = {
        "rgb.png": (colours, {}), "grey.png": (grey, {}), "palette.png": (colours.convert("P"), {}),
        "bits.png": (colours.convert("1"), {}), "rgba.png": (alpha, {}),
        "la.png": (alpha.convert("LA"), {}), "deep.png": (deep, {}),
        "transparent.png": (colours.convert("P"), {"transparency": 3}),
        "see-through.png": (few, {"transparency": 1}),
        "half see-through.png": (few, {"transparency": bytes([0, 100, 200, 255])}),
        "see-through.gif": (few, {"transparency": 1}),
        "rgb.jpg": (colours.resize((40, 30)), {"quality": 95}), "grey.jpg": (grey, {}),
        "cmyk.jpg": (colours.convert("CMYK"), {}), "turned.jpg": (colours, {"exif": turned}),
        "rgb.bmp": (colours, {}), "rgb.tif": (colours, {}), "rgb.ppm": (colours, {}),
        "floats.tif": (floats, {}), "grey.tif": (grey, {}),
    }  # fmt: skip
    for name, (image, settings) in pictures.items():
        image.save(tmp_path / name, **settings)
    return {name: str(tmp_path / name) for name in pictures}


def test_files_are_read_alike(files):
    agree("pictures", {"files": files})


def test_crops_are_alike():
    for size in ((4, 5), (3, 4), (7, 8), (1, 1)):
        agree("oversampled", {"size": size}, {"images": values(2, 7, 8, 3)})


IMAGENET = {"transpose": [2, 0, 1], "channel_swap": [2, 1, 0], "raw_scale": 255.0}


@pytest.mark.parametrize(
    "settings, mean",
    [
        ({}, None),
        ({"transpose": [2, 0, 1]}, None),
        (IMAGENET, None),
        (IMAGENET, values(3) * 100),
        ({**IMAGENET, "input_scale": 0.017}, values(3, 9, 11) * 100),
        ({**IMAGENET, "input_scale": 0.017}, values(3, 16, 16) * 100),
        ({"transpose": [2, 0, 1], "input_scale": 0.5}, values(1, 9, 11)),
    ],
)
@pytest.mark.parametrize("size", [(9, 11), (20, 30), (5, 6)])
def test_pictures_are_transformed_alike(settings, mean, size):
    shape = [2, 9, 11, 3] if "transpose" not in settings else [2, 3, 9, 11]
    if "transpose" not in settings:
        size = (11, 3)  # BVLC's reads the picture's size off the blob's last axes
    arrays = {"picture": values(*size, 3)}
    if mean is not None:
        arrays["mean"] = mean
    agree("transformed", {"shape": shape, **settings}, arrays)


HABITS = {
    **{f"{n} channels, 3 swapped": (n, ("channel_swap", [2, 1, 0])) for n in (2, 3, 4, 5)},
    "channel 3 for channel 2": (4, ("channel_swap", [0, 1, 3])),
    "a channel twice": (3, ("channel_swap", [0, 0, 0])),
    "channels from behind": (3, ("channel_swap", [-1, -2, -3])),
    "2 channels swapped": (3, ("channel_swap", [1, 0])),
    "4 channels swapped": (4, ("channel_swap", [2, 1, 0, 3])),
    "axes from behind": (3, ("transpose", [-1, 0, 1])),
    "axes too few": (3, ("transpose", [1, 0])),
    "a mean of 4 channels": (4, ("mean", [1, 2, 3, 4])),
    "a scale for each column": (3, ("input_scale", [1, 2, 3, 4, 5])),
    "a raw_scale of 0": (3, ("raw_scale", 0)),
}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", [(4, 5), (7, 6)])
@pytest.mark.parametrize("what", HABITS)
def test_a_transformer_is_used_as_others_do(what, size, transposed):
    channels, (setting, value) = HABITS[what]
    calls = [["set_" + setting, value]]
    if transposed:
        calls.insert(0, ["set_transpose", [2, 0, 1]])
    args = {"shape": [2, 3, 4, 5], "calls": calls}
    agree("transformer_calls", args, {"data": values(*size, channels)})


def test_messages_are_alike():
    arrays = {
        "bytes": values(3, 4, 5, dtype="u1"),
        "doubles": values(3, 4, 5, dtype="f8"),
        "floats": values(2, 3),
        "one": values(1),
        "whole": np.arange(24).reshape(1, 2, 3, 4),
    }
    agree("messages", {}, arrays, limit=0)


CLASSES = net(data(4, 3, 8, 8), ip("ip", "data", 5), layer("prob", "Softmax", "ip"))
MAPS = net(
    data(4, 3, 8, 8),
    ip("ip", "data", 5),
    layer("r", "Reshape", "ip", more="reshape_param { shape { dim: 0 dim: 5 dim: 1 dim: 1 } }"),
)
SETTINGS = {"raw_scale": 255.0, "channel_swap": [2, 1, 0], "input_scale": 0.02}


@pytest.mark.parametrize("prototxt", [CLASSES, MAPS])
@pytest.mark.parametrize("size", [None, [12, 14], [9, 8]])
def test_classifiers_agree(prototxt, size):
    settings = dict(SETTINGS, **({"image_dims": size} if size else {}))
    arrays = {"picture": values(20, 30, 3), "mean": values(3) * 100}
    agree("classified", {"prototxt": prototxt, "settings": settings}, arrays, limit=1e-5)


WINDOWS = [[0, 0, 10, 10], [3, 4, 20, 30], [5, 6, 9, 25], [12, 0, 20, 7]]


@pytest.mark.parametrize("context", [None, 1, 2])
@pytest.mark.parametrize("mean", [None, values(3) * 100, values(3, 8, 8) * 100])
def test_detectors_agree(files, tmp_path, context, mean):
    Image.fromarray(values(20, 30, 3, dtype="u1")).save(tmp_path / "scene.png")
    args = {
        "prototxt": MAPS,
        "settings": {**SETTINGS, **({"context_pad": context} if context else {})},
        "windows": WINDOWS,
        "file": str(tmp_path / "scene.png"),
    }
    agree("detected", args, {} if mean is None else {"mean": mean}, limit=1e-5)


DRAWN = net(
    'name: "drawn"',
    data(1, 3, 9, 9),
    layer("d", "Data", [], ["a", "label"], "data_param { batch_size: 7 } include { phase: TRAIN }"),
    layer("c", "Convolution", "data", more="convolution_param { num_output: 4 kernel_size: 3 }"),
    layer(
        "c2", "Convolution", "c",
        more="convolution_param { num_output: 2 kernel_size: 5 stride: 2 pad: 1 } "
        "param { lr_mult: 2 }",
    ),
    layer(
        "up", "Deconvolution", "c", more="convolution_param { num_output: 4 kernel_size: 4 } "
        "param { lr_mult: 0 } param { lr_mult: 0.5 }",
    ),
    layer("relu", "ReLU", "c", "c"),
    layer("drop", "Dropout", "c", "c", "exclude { phase: TEST }"),
    layer("pool", "Pooling", "c", more="pooling_param { kernel_size: 2 stride: 2 pool: AVE }"),
    layer("ip", "InnerProduct", "pool", more="inner_product_param { num_output: 9 }"),
    layer("loss", "SoftmaxWithLoss", ["ip", "label"], "loss", "include { phase: TRAIN }"),
    layer("bn", "BatchNorm", "ip", "ip"),
    layer("quiet", "Silence", "ip", []),
)  # fmt: skip


def test_drawings_agree():
    ways = [{"rankdir": way, "phase": phase} for way in ("LR", "TB", "BT", "RL")
            for phase in (None, 0, 1)]  # fmt: skip
    more = [{"rankdir": "LR", "label_edges": False}, {"rankdir": "TB", "display_lrm": True}]
    agree("drawn", {"prototxt": DRAWN, "settings": ways + more})


MODULES = [
    "caffe", "caffe._caffe", "caffe.pycaffe", "caffe.net_spec", "caffe.io", "caffe.classifier",
    "caffe.detector", "caffe.draw", "caffe.coord_map", "caffe.proto", "caffe.proto.caffe_pb2",
]  # fmt: skip
# What the engine does not have: docs/conformance.md says why.
BOOSTS = {"__instance_size__", "__dict__", "__weakref__"}
IMPORTED = {"six", "caffe", "os", "division", "protobuf", "pydot"}
PROTOCS = {"_descriptor", "_message", "_reflection", "_sym_db", "_symbol_database"}
STEPS = {
    "_to_proto", "_get_name", "_get_top_name", "_Transformer__check_input", "_Net_get_id_name",
}  # fmt: skip
TRAINED = net(data(4, 3), data(4, name="label"), ip("ip", "data"),
              layer("loss", "SoftmaxWithLoss", ["ip", "label"]))  # fmt: skip


def test_no_name_of_pycaffe_is_missing():
    args = {"modules": MODULES, "prototxt": TRAINED}
    args["solver"] = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed"'
    theirs, ours = both.run_both("names", args)
    left_out = BOOSTS | IMPORTED | PROTOCS | STEPS
    others = {place for place in theirs if place not in ours}
    assert {place.rpartition(".")[2] for place in others} <= left_out
    missing = {
        place: sorted(set(theirs[place]) - set(ours[place]) - left_out)
        for place in theirs
        if place not in others
    }
    assert {place: names for place, names in missing.items() if names} == {}
    report.record("pycaffe", "names of modules, classes, nets: none missing", cases=len(theirs))


def test_lists_refuse_the_same_items():
    attributes = ["blobs", "params", "layers", "inputs", "outputs", "_blob_names", "_inputs"]
    agree("wrong_items", {"prototxt": TRAINED, "layer": "ip", "attributes": attributes})


@pytest.mark.parametrize("size", [(2, 2), (9, 11), (3, 20), (1, 1)])
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_what_caffe_io_borrows_agrees(size, dtype):
    arrays = {
        "grey": values(7, 9, dtype=dtype),
        "colour": values(6, 5, 3, seed=1, dtype=dtype),
        "numbers": values(4, 4, 2, seed=2, dtype=dtype),
    }
    agree("borrowed", {"size": size, "orders": [1, 3]}, arrays)


def test_ranks_log_and_timer_are_alike():
    agree("solver_ranks")


PICTURE = values(4, 5, 3)
REFUSED = [
    ("transformed", {"shape": [1, 3, 4, 5], "transpose": [2, 0]}, {"picture": PICTURE}),
    ("transformed", {"shape": [1, 3, 4, 5], "channel_swap": [1, 0]}, {"picture": PICTURE}),
    ("transformed", {"shape": [1, 3, 4, 5]}, {"picture": PICTURE, "mean": values(2)}),
    ("transformed", {"shape": [1, 3, 4, 5]}, {"picture": PICTURE, "mean": values(1, 1, 1, 1)}),
    ("oversampled", {"size": [9, 4]}, {"images": values(2, 7, 8, 3)}),
    ("resized", {"sizes": {"a": [3, 4]}, "order": 1}, {"a": values(5, 6)}),
]  # fmt: skip


@pytest.mark.parametrize("scenario, args, arrays", REFUSED)
def test_both_refuse(scenario, args, arrays):
    for side in both.SIDES:
        with pytest.raises(both.ScenarioFailed):
            both.run(side, scenario, args, arrays)
    report.record("pycaffe", "refused by both")
