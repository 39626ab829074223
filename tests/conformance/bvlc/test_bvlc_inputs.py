"""Files and habits of strangers that BVLC Caffe takes: the engine takes them too, alike."""

from __future__ import annotations

import os

import pytest

from tests.conformance import both, report
from tests.conformance.nets import conv, data, ip, layer, net
from tests.conformance.small import FLOOR, agree, labels, tolerance, values

PLAIN = net(data(2, 3, 6, 6), conv("c", "data"))
X = {"data": values(2, 3, 6, 6)}

TEXTS = {
    "a comment in GBK": ("# 卷积层\n" + PLAIN, "gbk"),
    "a comment in Latin-1": ("# d\xe9j\xe0\n" + PLAIN, "latin-1"),
    "a name in Latin-1": ('name: "caf\xe9"\n' + PLAIN, "latin-1"),
    "a name with an octal byte": ('name: "caf\\351"\n' + PLAIN, "utf-8"),
    "layers of UTF-8 names": (PLAIN.replace('"c"', '"层"'), "utf-8"),
    "lines that end in CR LF": (PLAIN.replace("\n", "\r\n"), "utf-8"),
    "angle brackets, commas, single quotes": (
        PLAIN.replace("{", "<").replace("}", ">,").replace('"', "'"),
        "utf-8",
    ),
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_prototxt_as_others_write_it_is_read(what):
    text, encoding = TEXTS[what]
    agree(f"prototxt: {what}", "one_net", {"prototxt": text, "encoding": encoding}, X)


LISTS = {
    "names without labels": "0.png\n1.png\n",
    "one label missing": "0.png\n1.png 2\n",
    "no end of the last line": "0.png 1\n1.png 2",
    "lines that end in CR LF": "0.png 1\r\n1.png 2\r\n",
    "a name with blanks": "my own 0.png 5\n",
    "labels that are no whole numbers": "0.png 1.7\n0.png cat\n0.png 0x10\n0.png 3x\n0.png \t7\n",
    "labels beyond 32 bits": "".join(
        f"0.png {label}\n" for label in (2**31, -(2**31) - 1, 99999999999, 10**23, -(10**23))
    ),
    "signs": "0.png +3\n0.png -3\n0.png +-3\n",
    "a name that begins with a number": "2007_0.png\n",
    "an ending in capitals": "PHOTO.PNG\n0.JPG 2\n",
}
LISTS_BOTH_REFUSE = {
    "a blank after the label": "0.png 1 \n",
    "a tab": "0.png\t1\n",
    "two blanks": "0.png  1\n",
    "a blank at first": " 0.png\n",
    "an empty line": "0.png 1\n\n",
    "only a label": "3\n",
    "quotes": '"0.png" 1\n',
    "a comma": "0.png, 1\n",
}


def listed(folder, lines):
    from tests.helpers import data_files as files

    for i, name in enumerate(
        ("0.png", "1.png", "my own 0.png", "2007_0.png", "PHOTO.PNG", "0.JPG")
    ):
        form = "JPEG" if name.endswith("JPG") else "PNG"
        (folder / name).write_bytes(files.encoded(files.pixels(i, 5, 6), form))
    (folder / "list.txt").write_bytes(lines.encode())
    return image_data(f'source: "{folder}/list.txt" root_folder: "{folder}/"')


def image_data(fields, more=""):
    tops = 'top: "data" top: "label"'
    return f'layer {{ name: "d" type: "ImageData" {tops} image_data_param {{ {fields} }} {more} }}'


@pytest.mark.parametrize("what", LISTS)
def test_a_list_of_pictures_as_others_write_it_is_read(tmp_path, what):
    args = {"prototxt": listed(tmp_path, LISTS[what]), "times": 6}
    errors = both.compare(*both.run_both("batches", args), 0.02 if "capitals" in what else 0.0)
    report.record("data", f"ImageData, list: {what}", errors)


@pytest.mark.parametrize("what", LISTS_BOTH_REFUSE)
def test_both_refuse_a_list_with(tmp_path, what):
    args = {"prototxt": listed(tmp_path, LISTS_BOTH_REFUSE[what]), "times": 6}
    assert both.both_or_neither("batches", args) is None


OF_NO_EFFECT = {
    "ImageData's scale": ("scale: 2", ""),
    "ImageData's mean_file": ('mean_file: "none"', ""),
    "ImageData's crop_size": ("crop_size: 2", ""),
    "ImageData's mirror": ("mirror: true", ""),
    "force_color of ImageData": ("", "transform_param { force_color: true }"),
    "force_gray of ImageData": ("", "transform_param { force_gray: true }"),
    "both forced": ("", "transform_param { force_gray: true force_color: true }"),
    "fields of other layers": ("", "convolution_param { num_output: 3 } loss_param { }"),
}


@pytest.mark.parametrize("what", OF_NO_EFFECT)
def test_what_has_no_effect_on_pictures_has_none_in_both(tmp_path, what):
    fields, more = OF_NO_EFFECT[what]
    listed(tmp_path, "0.png 1\n1.png 2\n")
    text = image_data(f'source: "{tmp_path}/list.txt" root_folder: "{tmp_path}/" {fields}', more)
    errors = both.compare(*both.run_both("batches", {"prototxt": text, "phase": "TRAIN"}), 0.0)
    report.record("data", f"ImageData, no effect: {what}", errors)


@pytest.mark.parametrize("field", ["scale: 2", 'mean_file: "none"', "crop_size: 2", "mirror: true"])
def test_what_only_old_data_layers_hold_themselves_has_no_effect_in_both(tmp_path, field):
    from tests.helpers import data_files as files

    source = files.write_lmdb(
        tmp_path / "db", [files.datum(files.pixels(i, 6, 8).transpose(2, 0, 1)) for i in range(3)]
    )
    param = f'data_param {{ source: "{source}" backend: LMDB batch_size: 2 {field} }}'
    text = f'layer {{ name: "d" type: "Data" top: "data" top: "label" {param} }}'
    both.compare(*both.run_both("batches", {"prototxt": text, "phase": "TRAIN"}), 0.0)


IGNORED = {
    "num_output of Im2col": ("Im2col", "convolution_param { kernel_size: 2 num_output: 5 }"),
    "fillers of Im2col": ("Im2col", "convolution_param { kernel_size: 2 weight_filler { } }"),
    "k of LRN within a channel": ("LRN", "lrn_param { norm_region: WITHIN_CHANNEL k: 3 }"),
    "end_axis just before axis": ("Flatten", "flatten_param { axis: 2 end_axis: 1 }"),
}


@pytest.mark.parametrize("what", IGNORED)
def test_fields_that_seem_wrong_do_the_same_in_both(what):
    kind, body = IGNORED[what]
    text = net("force_backward: true", data(2, 3, 6, 6), layer("a", kind, "data", more=body))
    agree(f"field: {what}", "one_net", {"prototxt": text}, X)


@pytest.mark.parametrize("kind", ["ContrastiveLoss", "EuclideanLoss", "HingeLoss"])
def test_a_loss_that_knows_no_loss_param_is_the_same_with_one(kind):
    second = data(2, 4, name="b") if kind != "HingeLoss" else data(2, name="b")
    bottoms, arrays = (
        ["a", "b"],
        {"a": values(2, 4), "b": labels(2) if kind == "HingeLoss" else values(2, 4, seed=1)},
    )
    more = []
    if kind == "ContrastiveLoss":
        bottoms, more = ["a", "b", "y"], [data(2, name="y")]
        arrays["y"] = labels(2, classes=2)
    ignored = "loss_param { ignore_label: 1 normalization: FULL }"
    text = net(
        "force_backward: true",
        data(2, 4, name="a"),
        second,
        *more,
        layer("loss", kind, bottoms, more=ignored),
    )
    agree(f"loss_param of {kind}", "one_net", {"prototxt": text}, arrays)


def test_the_old_sizes_of_dummy_data_hold_for_all_tops_or_each():
    sizes = "num: 2 num: 3 channels: 1 height: 1 height: 2 width: 4"
    text = f'layer {{ type: "DummyData" top: "a" top: "b" dummy_data_param {{ {sizes} }} }}'
    agree("DummyData of the old form", "one_net", {"prototxt": text, "backward": False})


def test_nothing_is_among_the_best_0_in_both():
    text = net(
        data(4, 5, name="a"), data(4, name="b"),
        layer("right", "Accuracy", ["a", "b"], more="accuracy_param { top_k: 0 }"),
    )  # fmt: skip
    arrays = {"a": values(4, 5), "b": labels(4)}
    agree("top_k: 0", "one_net", {"prototxt": text, "backward": False}, arrays)


def test_a_picture_and_a_list_whose_names_are_in_latin_1_are_read(tmp_path):
    from tests.helpers import data_files as files

    folder = os.fsencode(tmp_path)
    with open(folder + b"/\xe9.png", "wb") as file:
        file.write(files.encoded(files.pixels(0, 5, 6)))
    with open(folder + b"/\xe8.txt", "wb") as file:
        file.write(folder + b"/\xe9.png 3\n")
    body = f'image_data_param {{ source: "{tmp_path}/\xe8.txt" }}'
    text = f'layer {{ name: "d" type: "ImageData" top: "data" top: "label" {body} }}'
    args = {"prototxt": text, "encoding": "latin-1"}
    both.compare(*both.run_both("batches", args), 0.0)


POLICIES = {
    "step without gamma": ['lr_policy: "step"', "stepsize: 2"],
    "exp without gamma": ['lr_policy: "exp"'],
    "inv without gamma and power": ['lr_policy: "inv"'],
    "inv without power": ['lr_policy: "inv"', "gamma: 0.5"],
    "multistep without gamma": ['lr_policy: "multistep"', "stepvalue: 2"],
    "multistep without stepvalue": ['lr_policy: "multistep"', "gamma: 0.5"],
    "multistep, falling": ['lr_policy: "multistep"', "gamma: 0.5", "stepvalue: 4", "stepvalue: 2"],
    "poly without power": ['lr_policy: "poly"'],
    "poly of a negative power": ['lr_policy: "poly"', "power: -1"],
    "sigmoid without gamma": ['lr_policy: "sigmoid"', "stepsize: 2"],
    "no base_lr": ['lr_policy: "fixed"', "base_lr: 0"],
    "a negative base_lr": ['lr_policy: "fixed"', "base_lr: -0.1"],
    "iter_size 0": ['lr_policy: "fixed"', "iter_size: 0"],
    "iter_size 0 and weight_decay": ['lr_policy: "fixed"', "iter_size: 0", "weight_decay: 0.1"],
    "iter_size -1 and weight_decay": ['lr_policy: "fixed"', "iter_size: -1", "weight_decay: 0.1"],
    "iter_size 0 of Adam": ['lr_policy: "fixed"', "iter_size: 0", 'type: "Adam"'],
    "an unknown regularization without decay": [
        'lr_policy: "fixed"',
        'regularization_type: "none"',
    ],
    "a folder for snapshots that is not there": [
        'lr_policy: "fixed"',
        'snapshot_prefix: "no/such/s"',
    ],
}
POLICIES_BOTH_REFUSE = {
    "step without stepsize": ['lr_policy: "step"', "gamma: 0.5"],
    "step of a negative gamma": ['lr_policy: "step"', "gamma: -0.5", "stepsize: 2"],
    "sigmoid without stepsize": ['lr_policy: "sigmoid"', "gamma: 0.5"],
    "a policy in capitals": ['lr_policy: "STEP"', "gamma: 0.5", "stepsize: 2"],
    "no policy": [],
    "average_loss 0": ['lr_policy: "fixed"', "average_loss: 0"],
}


def trained(settings):
    text = net(
        data(4, 2), data(4, name="label"), ip("h", "data", 5), ip("score", "h", 4),
        layer("loss", "SoftmaxWithLoss", ["score", "label"]),
    )  # fmt: skip
    rate = [] if any(line.startswith("base_lr") for line in settings) else ["base_lr: 0.1"]
    return {"prototxt": text, "solver": [*rate, "max_iter: 20", *settings], "steps": 6}


@pytest.mark.parametrize("what", POLICIES)
def test_a_solver_as_others_write_it_trains_alike(what):
    args = trained(POLICIES[what])
    errors = both.compare(*both.run_both("training", args), 1e-4, 1e-2)
    report.record("solvers", what, errors)


@pytest.mark.parametrize("what", POLICIES_BOTH_REFUSE)
def test_both_refuse_a_solver_of(what):
    assert both.both_or_neither("training", trained(POLICIES_BOTH_REFUSE[what])) is None


WRONG_BLOBS = {
    "no shape": {"data": [0.5] * 3},
    "neither shape nor numbers": {},
    "a number too few": {"dims": [2, 2], "data": [0.5] * 3},
    "a negative shape": {"dims": [-2, 2], "data": [0.5] * 3},
    "40 axes": {"dims": [1] * 40, "data": [0.5]},
}


def write_model(path, own, other):
    """A caffemodel of layer c, right but for what `own` changes, and of one that no net has."""
    from caffe.proto import caffe_pb2

    model = caffe_pb2.NetParameter()
    weights = {"dims": [3, 3, 3, 3], "data": [0.25] * 81}
    for name, blobs in (
        ("c", [{**weights, **own}, {"dims": [3], "data": [1, 2, 3]}]),
        ("x", [other]),
    ):
        layer_param = model.layer.add(name=name, type="Convolution")
        for blob in blobs:
            proto = layer_param.blobs.add(data=blob.get("data", []))
            proto.shape.dim.extend(blob.get("dims", []))
            if "dims" not in blob:
                proto.ClearField("shape")
    path.write_bytes(model.SerializeToString())
    return {"prototxt": PLAIN, "weights_file": str(path)}


@pytest.mark.parametrize("what", WRONG_BLOBS)
def test_blobs_of_a_layer_that_the_net_lacks_may_be_wrong(tmp_path, what):
    args = write_model(tmp_path / "w.caffemodel", {}, WRONG_BLOBS[what])
    errors = both.compare(*both.run_both("load_weights", args), 0.0)
    report.record("files", "weights: wrong blobs of a layer that the net lacks", errors)


@pytest.mark.parametrize("what", WRONG_BLOBS)
def test_both_refuse_wrong_blobs_of_a_layer_that_the_net_has(tmp_path, what):
    own = {"dims": [], "data": [], **WRONG_BLOBS[what]}
    args = write_model(tmp_path / "w.caffemodel", own, {"dims": [1], "data": [1]})
    assert both.both_or_neither("load_weights", args) is None


# The bottom's shape, and what ConvolutionParameter says.
AXES = [
    ((2, 3), "kernel_size: 3"),
    ((2, 4), "group: 2 bias_term: false"),
    ((2, 3), "kernel_size: 2 pad: 1 stride: 2 dilation: 3"),
    ((4,), "axis: 0 kernel_size: 1"),
    ((2, 3, 5), "axis: 0 kernel_size: 2"),
    ((2, 3, 5), "axis: -1 kernel_size: 2"),
    ((2, 3, 4, 6), "axis: 2 kernel_size: 3 pad: 1 stride: 2 group: 2"),
    ((2, 3, 5, 6), "axis: 3"),
    ((2, 3, 5, 6), "axis: -2 kernel_size: 3"),
    ((2, 3, 2, 5, 6), "axis: 2 kernel_h: 3 kernel_w: 2"),
    ((1, 2, 3, 4, 3, 4), "kernel_size: 2 pad: 1 stride: 2"),
    ((1, 2, 3, 4, 3, 4), "kernel_size: 2 dilation: 2 group: 2 pad: 1"),
    ((1, 2, 3, 4, 3, 4), "kernel_size: 2 kernel_size: 1 kernel_size: 3 kernel_size: 1"),
    ((1, 2, 3, 2, 3, 2, 3), "kernel_size: 2"),
    ((2, 2, 2, 2, 3, 4, 3, 4), "axis: 3 kernel_size: 2"),
    ((2, 3, 5, 6), "kernel_size: 3 dilation: 0 stride: 2"),
    ((2, 3, 5, 6), "kernel_size: 3 dilation: 0 dilation: 2 pad: 1"),
]


@pytest.mark.parametrize(("shape", "fields"), AXES)
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution", "Im2col"])
def test_channels_lie_along_any_axis_before_any_number_of_others(kind, shape, fields):
    outputs = "" if kind == "Im2col" else "num_output: 4"
    body = f"convolution_param {{ {outputs} {fields} }}"
    text = net("force_backward: true", data(*shape), layer("a", kind, "data", more=body))
    args, arrays = {"prototxt": text}, {"data": values(*shape)}
    results = both.both_or_neither("one_net", args, arrays)
    if results is None:
        assert kind == "Im2col", "both refuse it"
        return
    report.record("net", f"axes of {kind}", both.compare(*results, tolerance, FLOOR))
