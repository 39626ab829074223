"""The net summary: shapes and parameters are a real net's, numbers the published ones."""

from __future__ import annotations

import math
import os
import re

import numpy as np
import pytest
from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2
from tests.helpers.summary_nets import assert_is, built, by_top, conv, data, layer, summarized
from tools import summary
from tools.common import cli

NETS = sorted(
    f"{task}/{net}"
    for task in os.listdir(summary.NETS)
    for net in os.listdir(os.path.join(summary.NETS, task))
    if task not in ("sbd", "nyud-hha")  # the same layers as voc and nyud-rgb
)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("phase", ["deploy", "train"])
def test_a_generated_nets_shapes_are_those_of_the_net_itself(name, phase, tmp_path):
    """With thin layers, so that it is built in no time."""
    path = summary.find_net(f"{name}/{phase}.prototxt")
    net = summary.read(path, (37, 53), "TRAIN")
    for thin in net.layer:
        if thin.convolution_param.num_output >= 64:
            thin.convolution_param.num_output //= 64
    found = summary.summarize(net, name)
    assert_is(found, built(net, tmp_path / "n.prototxt"))
    assert not found.notes
    assert by_top(found)["score"].shape[2:] == (37, 53)


EVERY = (
    data(2, 6, 20, 15)
    + data(2, 1, 20, 15, name="label")
    + layer("norm", "LRN", "data")
    + conv("conv", "norm", "kernel_h: 3 kernel_w: 5 stride: 2 pad_h: 2 pad_w: 1", outputs=12)
    + conv("conv_g", "conv", "kernel_size: 2 dilation: 2 group: 3", outputs=6)
    + layer("bn", "BatchNorm", "conv_g", top="bn")
    + layer("scale", "Scale", "bn", "scale_param { bias_term: true }", top="bn")
    + layer("relu", "ReLU", "bn", top="bn")
    + layer("pool", "Pooling", "bn", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }", "pool at")
    + layer(
        "pool_f", "Pooling", "bn", "pooling_param { kernel_size: 3 stride: 2 round_mode: FLOOR }"
    )
    + layer("all", "Pooling", "bn", "pooling_param { pool: AVE global_pooling: true }")
    + layer("bias", "Bias", "pool", "bias_param { axis: 1 num_axes: 3 }")
    + conv("up", "bias", "kernel_size: 4 stride: 3 pad: 1 group: 2", "Deconvolution", 8)
    + layer("cut", "Slice", "up", "slice_param { slice_point: 3 }", "a b")
    + layer("both", "Concat", "a b a")
    + layer("crop", "Crop", "both bn", "crop_param { axis: 3 offset: 2 }")
    + layer("sum", "Eltwise", "crop crop", "eltwise_param { coeff: 1 coeff: 2 }")
    + layer("power", "Power", "sum")
    + layer("tanh", "TanH", "power")
    + layer("flat", "Flatten", "all")
    + layer("ip", "InnerProduct", "flat", "inner_product_param { num_output: 12 }")
    + layer("drop", "Dropout", "ip", top="ip")
    + layer("fold", "Reshape", "ip", "reshape_param { shape { dim: 0 dim: 3 dim: -1 dim: 2 } }")
    + layer("soft", "Softmax", "fold")
    + layer("best", "ArgMax", "soft", "argmax_param { axis: 1 top_k: 2 }")
    + layer("most", "ArgMax", "soft", "argmax_param { top_k: 2 out_max_val: true }")
    + conv("score", "data", "kernel_size: 1", outputs=3)
    + layer("loss", "SoftmaxWithLoss", "score label", top="loss prob")
    + layer("right", "Accuracy", "score label", top="right each")
    + layer("quiet", "Silence", "at cut_unused", top="").replace('bottom: "cut_unused"', "")
)


def test_every_layer_types_shapes_are_the_nets(tmp_path):
    assert_is(summarized(EVERY), built(EVERY, tmp_path / "n.prototxt"))


def test_layers_that_arithmetic_does_not_know_are_summarized(tmp_path):
    text = (
        data(3, 2, 9, 9)
        + data(3, 2, name="marks")
        + layer("spp", "SPP", "data", "spp_param { pyramid_height: 2 }")
        + layer("fold", "Reshape", "spp", "reshape_param { shape { dim: 3 dim: 2 dim: 5 } }")
        + layer("lstm", "LSTM", "fold marks", "recurrent_param { num_output: 4 }")
    )
    found = summarized(text)
    assert_is(found, built(text, tmp_path / "n.prototxt"))
    lstm = by_top(found)["lstm"]
    assert [(p.what, p.shape) for p in lstm.params] == [
        ("weights", (16, 5)),
        ("bias", (16,)),
        ("blob 2", (16, 4)),
    ]
    assert lstm.field is None
    assert found.notes == ["layer 'lstm' (LSTM): not in GMAC"]


def test_a_summary_draws_no_numbers_and_writes_no_file(tmp_path):
    random = 'inner_product_param { num_output: 3 weight_filler { type: "gaussian" } }'
    text = data(1, 9) + layer("c", "InnerProduct", "data", random)
    text += layer("d", "InnerProduct", "c", random)
    path = tmp_path / "out.h5"
    output = layer("e", "HDF5Output", "c d", f'hdf5_output_param {{ file_name: "{path}" }}', "")
    drawn = []
    for summaries in (0, 1):
        caffe.set_random_seed(3)
        for _ in range(summaries):
            assert [row.top for row in summarized(text + output).rows] == ["data", "c", "d"]
        drawn.append(built(text, tmp_path / "n.prototxt").params["c"][0].data.copy())
    assert np.array_equal(*drawn) and drawn[0].any() and not path.exists()


def test_memory_is_that_of_the_blobs_without_the_shared_ones(tmp_path):
    found = summarized(EVERY)
    net = built(EVERY, tmp_path / "n.prototxt")
    shared = ("flat", "fold")
    blobs = [
        blob for name, blob in net.blobs.items() if "_split_" not in name and name not in shared
    ]
    assert summary.totals(found)["memory"] == sum(blob.data.nbytes for blob in blobs)


ONE = [
    conv("y", "data", "kernel_size: 3 stride: 2", outputs=4),
    conv("y", "data", "kernel_h: 2 kernel_w: 3 dilation: 2 group: 2", outputs=6),
    conv("y", "data", "kernel_size: 4 stride: 2", "Deconvolution", 2),
    conv("y", "data", "kernel_size: 3 stride: 3 group: 2", "Deconvolution", 6),
    layer("y", "InnerProduct", "data", """inner_product_param { num_output: 5 bias_term: false
          weight_filler { type: "constant" value: 1 } }"""),
    layer("y", "InnerProduct", "data", """inner_product_param { num_output: 5 bias_term: false
          axis: 2 transpose: true weight_filler { type: "constant" value: 1 } }"""),
]  # fmt: skip


@pytest.mark.parametrize("text", ONE)
def test_multiplications_are_counted(text, tmp_path):
    """Of ones with ones, and without padding, each adds 1 to some output."""
    text = data(2, 4, 9, 11) + text
    net = built(text, tmp_path / "n.prototxt")
    net.blobs["data"].data[...] = 1
    net.forward()
    assert summary.totals(summarized(text))["macs"] == net.blobs["y"].data.sum()


def read(name, to=None, size=None):
    return summary.summarize(summary.read(summary.find_net(name), size), name, to)


@pytest.mark.parametrize(
    "name, learned, gmac",
    [
        ("voc/dilated-fcn2s-vgg16", 50_460_501, 159.4),
        ("voc/dilated-fcn2s-vgg19", 55_770_197, 200.3),
        ("voc/fcn8s-vgg16", 134_346_581, 180.9),
    ],
)
def test_numbers_of_the_published_nets_up_to_score_fr(name, learned, gmac):
    found = summary.totals(read(name, "score_fr"))
    assert found["learned"] == learned
    assert round(found["macs"] / 1e9, 1) == gmac


def test_fc6_has_the_weights_of_table_1():
    weights = {}
    for name in ("voc/fcn8s-vgg16", "voc/dilated-fcn2s-vgg16"):
        weights[name] = by_top(read(name))["fc6"].params[0]
    assert [p.shape for p in weights.values()] == [(4096, 512, 7, 7), (4096, 512, 3, 3)]
    assert [math.prod(p.shape) for p in weights.values()] == [102_760_448, 18_874_368]


def test_the_published_maps_fields_and_strides():
    rows = by_top(read("voc/dilated-fcn2s-vgg16"))
    tops = ["conv1_1", *(f"pool{s}" for s in range(1, 6)), "fc6"]
    assert [rows[top].shape[3] for top in tops] == [698, 349, 175, 88, 44, 22, 16]
    # The published VGG-16: pool5 sees 212 pixels, fc6 404, dilated or not.
    assert [rows[top].field[0] for top in tops] == [3, 6, 16, 44, 100, 212, 404]
    assert by_top(read("voc/fcn32s-vgg16"))["fc6"].field == [404, 404]
    ups = ["score_fr", "upscore2", "upscore_pool4", "upscore_pool3", "upscore_pool2", "upscore_2"]
    assert [rows[top].grids[0].stride for top in ups] == [32, 16, 8, 4, 2, 1]


@pytest.mark.parametrize(
    "name, offsets",
    [
        ("voc/dilated-fcn2s-vgg16", [5, 9, 17, 33, 34]),
        ("voc/dilated-fcn2s-vgg19", [5, 9, 17, 33, 34]),
        ("voc/fcn32s-vgg16", [19]),
        ("voc/fcn16s-vgg16", [5, 27]),
        ("voc/fcn8s-vgg16", [5, 9, 31]),
    ],
)
def test_starts_differ_by_the_published_crop_offsets(name, offsets):
    rows = by_top(read(name))
    net = summary.read(summary.find_net(name))
    found = []
    for crop in (made for made in net.layer if made.type == "Crop"):
        large, wanted = (rows[bottom].grids[0] for bottom in crop.bottom)
        found.append((wanted.start - large.start) / large.stride)
    assert found == offsets


def test_parameters_are_learned_fixed_or_shared():
    text = data(1, 2, 8, 8)
    text += layer("a", "Convolution", "data", """param { name: "w" lr_mult: 1 } param { lr_mult: 0 }
                  convolution_param { num_output: 2 kernel_size: 3 }""")  # fmt: skip
    text += layer("b", "Convolution", "a", """param { name: "w" }
                  convolution_param { num_output: 2 kernel_size: 3 }""")  # fmt: skip
    text += layer("n", "BatchNorm", "b")
    found = summarized(text)
    states = [(p.layer, p.what, p.state) for row in found.rows for p in row.params]
    assert states == [
        ("a", "weights", "learned"),
        ("a", "bias", "fixed"),
        ("b", "weights", "shared"),
        ("b", "bias", "learned"),
        *(("n", what, "fixed") for what in ("mean", "variance", "count")),
    ]
    totals = summary.totals(found)
    assert (totals["learned"], totals["fixed"]) == (2 * 2 * 9 + 2, 2 + 5)


def test_layers_of_another_phase_are_left_out(tmp_path):
    path = tmp_path / "n.prototxt"
    score = conv("score", "data", "kernel_size: 1")
    path.write_text(
        layer("data", "Data", "", "include { phase: TRAIN }", "data label")
        + layer("data", "Data", "", "include { phase: TEST }", "data label")
        + score
        + layer("loss", "SoftmaxWithLoss", "score label", "exclude { phase: TEST }")
    )
    for phase, tops in (("TRAIN", "data label score loss"), ("TEST", "data label score")):
        found = summary.summarize(summary.read(str(path), None, phase), "n")
        assert [row.top for row in found.rows] == tops.split()


def test_inputs_given_in_the_older_way_are_read(tmp_path):
    path = tmp_path / "n.prototxt"
    score = conv("score", "data", "kernel_size: 1")
    for shape in ("input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 7",
                  "input_shape { dim: 1 dim: 3 dim: 9 dim: 7 }"):  # fmt: skip
        path.write_text(f'input: "data" {shape} {score}')
        for size, wanted in ((None, (9, 7)), ((4, 5), (4, 5))):
            found = summary.summarize(summary.read(str(path), size), "n")
            assert by_top(found)["score"].shape == (1, 1, *wanted)


def run(capsys, *argv):
    """(exit code, stdout, stderr) of the script."""
    with pytest.raises(SystemExit) as caught:
        cli.run(summary.main, [str(a) for a in argv])
    return (caught.value.code, *capsys.readouterr())


def cells(line):
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_the_script_prints_aligned_columns(capsys):
    code, out, _ = run(capsys, "voc/dilated-fcn2s-vgg16")
    lines = out.splitlines()
    assert code == 0 and lines[0].split()[:4] == ["layer", "type", "output", "field"]
    (fc6,) = [line for line in lines if line.startswith("fc6 ")]
    assert fc6.split() == ["fc6", "Convolution", "1x4096x16x16", "404", "32", "12.5",
                           "18,874,368", "4,096", "4.832", "4.2"]  # fmt: skip
    end = lines[0].index("weights") + len("weights")
    assert fc6[:end].endswith("18,874,368") and max(map(len, lines)) < 120


def test_nets_are_compared_as_markdown(capsys):
    code, out, _ = run(capsys, "voc/fcn8s-vgg16", "voc/dilated-fcn2s-vgg16", "--markdown")
    parts = [part.splitlines() for part in out.split("\n\n")]
    table = next(part for part in parts if cells(part[0])[0] == "net")
    assert code == 0 and len(table) == 4 and cells(table[1])[:2] == [":--", "--:"]
    assert cells(table[2])[:5] == [
        "voc/fcn8s-vgg16",
        "4096x512x7x7",
        "1",
        "102,760,448",
        "134,362,751",
    ]
    assert cells(table[3])[:4] == ["voc/dilated-fcn2s-vgg16", "4096x512x3x3", "3", "18,874,368"]
    assert all(line.count("|") == part[0].count("|") for part in parts[:-1] for line in part)


def test_both_streams_fc6_count(capsys):
    _, out, _ = run(capsys, "nyud-rgb-hha/fcn32s-vgg16", "nyud-rgb/fcn32s-vgg16")
    rows = [line for line in out.splitlines() if "205,520,896" in line]
    assert len(rows) == 1 and "2 of 4096x512x7x7" in rows[0]


def test_all_parameters_are_listed_if_asked(capsys):
    _, out, _ = run(capsys, "voc/dilated-fcn2s-vgg16", "--all-params", "--to", "upscore2")
    lines = [line.split() for line in out.splitlines()]
    assert ["fc6", "weights", "4096x512x3x3", "learned", "18,874,368", "1", "1"] in lines
    assert ["fc6", "bias", "4096", "learned", "4,096", "2", "0"] in lines
    assert ["upscore2", "weights", "21x21x4x4", "fixed", "7,056", "0", "1"] in lines
    assert "scale_pool4" not in out


def test_the_size_is_that_of_the_images(capsys):
    for name in ("voc/dilated-fcn2s-vgg16", "voc/dilated-fcn2s-vgg16/train.prototxt"):
        _, out, _ = run(capsys, name, "--size", "375x500")
        assert re.search(r"^score  .* 1x21x375x500 ", out, re.M)
    assert re.search(r"^loss  ", out, re.M)


@pytest.mark.parametrize(
    "text, said",
    [
        (None, "net.prototxt: no such prototxt"),
        ("layer { nmae: 'x' }", "net.prototxt:.*nmae"),
        ("name: 'x'", "no layers"),
        ('layers { name: "x" type: CONVOLUTION }', "V1"),
        (data(1, 1, 9, 9) + layer("r", "Relu", "data"), "layer 'r'.*unknown type 'Relu'.*ReLU"),
        (data(1, 1, 9, 9) + layer("p", "Python", "data"), "layer 'p' .Python.*needs module"),
        (layer("data", "Input"), "layer 'data' .Input.*needs a shape"),
        (data(1, 1, 0, 9), "layer 'data' .Input.*1 or more"),
        (layer("r", "ReLU", "dta"), "layer 'r'.*unknown bottom blob 'dta'"),
        (data(1, 1, 9, 9) * 2, "layer 'data'.*'data' is made by an earlier"),
        (data(1, 1, 9, 9) + conv("c", "data", "kernel_size: 10"), "'c'.*.1, 1, 9, 9. .*too small"),
        (data(1, 1, 9, 9) + conv("c", "data", ""), "'c'.*needs a kernel_size"),
        (data(1, 1, 9, 9) + conv("c", "data", "kernel_size: 0"), "'c'.*kernel_size.*at least 1"),
        (data(1, 1, 9, 9) + conv("c", "data", "kernel_size: 1 group: 2"), "'c'.*group 2"),
        (data(1, 1, 9, 9) + data(1, 1, 8, 9, name="b") + layer("e", "Eltwise", "data b"),
         "'e'.*'data' and 'b'.*shape"),
        (data(1, 1, 9, 9) + data(1, 1, 8, 9, name="b") + layer("c", "Concat", "data b"), "'c'"),
        (data(1, 1, 9, 9) + layer("c", "Crop", "data data", "crop_param { offset: 1 }"),
         "'c'.*offset 1 . size 9 of 'data"),
        (data(1, 5, 9, 9) + layer("s", "Slice", "data", top="a b"), "'s'.*2 tops do not divide 5"),
        (data(1, 5) + layer("r", "Reshape", "data", "reshape_param { shape { dim: 2 dim: -1 } }"),
         "'r'.*-1 in"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_and_exit_2(tmp_path, capsys, text, said):
    path = tmp_path / "net.prototxt"
    if text is not None:
        path.write_text(text)
    code, _, err = run(capsys, path)
    assert code == 2 and err.count("\n") == 1
    assert err.startswith("error: ") and re.search(said, err) and str(path) in err


def test_a_net_that_is_not_there_gets_a_suggestion(capsys):
    code, _, err = run(capsys, "voc/dilated-fcn2s-vgg6")
    assert code == 2 and "did you mean voc/dilated-fcn2s-vgg" in err


def test_an_unknown_last_layer_is_reported(capsys):
    code, _, err = run(capsys, "voc/dilated-fcn2s-vgg16", "--to", "fc8")
    assert code == 2 and err == "error: voc/dilated-fcn2s-vgg16: --to fc8: has no such layer\n"


@pytest.mark.parametrize("size", ["500", "500x", "0x5", "500x500x3", "5e2x500", "999999x5"])
def test_a_size_is_two_numbers(capsys, size):
    code, _, err = run(capsys, "voc/dilated-fcn2s-vgg16", "--size", size)
    assert code == 2 and "expected HxW" in err


def test_a_batch_of_crops_has_its_own_size(tmp_path):
    param = "{'split': 'train', 'batch': 4, 'crop': (32, 48), 'mean': (1, 2, 3)}"
    net = text_format.Parse(
        f"""layer {{ name: "data" type: "Python" top: "data" top: "label" python_param {{
          module: "voc_layers" layer: "VOCSegDataLayer" param_str: "{param}" }} }}
        layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "data" bottom: "label" }}""",
        caffe_pb2.NetParameter(),
    )
    shapes = [list(shape.dim) for shape in summary.sized(net).layer[0].input_param.shape]
    assert shapes == [[4, 3, 32, 48], [4, 1, 32, 48]]
    shapes = [list(s.dim) for s in summary.sized(net, (10, 20)).layer[0].input_param.shape]
    assert shapes == [[4, 3, 10, 20], [4, 1, 10, 20]]
