"""Layers that know nothing of folds, users' own layers and random nets, folded and lean: what can
be read is as it is in a net that does neither."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import caffe
from caffe.engine import InputError
from tests.helpers.net_texts import data, fill, layer

KINDS = {"plain": (False, False), "folded": (True, False), "folded and lean": (True, True)}
NUMBERS = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "uniform" }'


def conv(name, bottom, more, outputs=2):
    body = f"convolution_param {{ num_output: {outputs} {NUMBERS} {more} }}"
    return layer(name, "Convolution", bottom, name, body)


def pool(name, bottom, more="kernel_size: 2 stride: 2"):
    return layer(name, "Pooling", bottom, name, f"pooling_param {{ {more} }}")


def total(bottom, name="loss"):
    sumsq = "loss_weight: 0.01 reduction_param { operation: SUMSQ }"
    return layer(name, "Reduction", bottom, name, sumsq)


ROOT = data(2, 2, 7, 9) + conv("c1", "data", "kernel_size: 3 pad: 20")


def set_input(net, seed=0):
    for name in net.inputs:
        blob = net.blobs[name]
        blob.data[...] = np.random.RandomState(seed).standard_normal(blob.shape)


def each_way(make, text, phase=caffe.TRAIN):
    """The net made plain, folded, and folded and lean, with the same numbers in."""
    nets = {}
    for kind, (folding, lean) in KINDS.items():
        caffe.engine.set_folding(folding)
        caffe.engine.set_lean(lean)
        nets[kind] = make(text, phase)
        fill(nets[kind], 1)
        set_input(nets[kind])
    return nets


def folds(net):
    return [fold for one in net.layers for fold in one._folds if fold is not None]


def results(net):
    """The outputs and the parameters' gradients after a pass each way."""
    caffe.set_random_seed(3)
    net.clear_param_diffs()
    net.forward()
    net.backward()
    found = {name: net.blobs[name].data.copy() for name in net.outputs}
    for name, blobs in net.params.items():
        found.update({f"{name}.{i}": blob.diff.copy() for i, blob in enumerate(blobs)})
    return found


def require_same(found, wanted, within=5e-5):
    """One thread adds up thousands of equal elements one after the other, and rounds each time."""
    for name, values in wanted.items():
        scale = max(1, np.abs(values).max(initial=0))
        np.testing.assert_allclose(found[name], values, rtol=0, atol=within * scale, err_msg=name)


def require_same_each_way(make, text):
    nets = each_way(make, text)
    for _ in range(2):
        wanted = results(nets["plain"])
        for kind in ("folded", "folded and lean"):
            require_same(results(nets[kind]), wanted)
    assert folds(nets["folded"]) and folds(nets["folded and lean"])
    for name, blob in nets["plain"].blobs.items():
        np.testing.assert_allclose(nets["folded"].blobs[name].data, blob.data, rtol=0, atol=1e-4)


UNAWARE = {
    "TanH": layer("o", "TanH", "c1"),
    "Power": layer("o", "Power", "c1", more="power_param { power: 2 scale: 0.5 }"),
    "PReLU": layer("o", "PReLU", "c1"),
    "InnerProduct": layer("o", "InnerProduct", "c1",
                          more=f"inner_product_param {{ num_output: 2 {NUMBERS} }}"),
    "Reduction": layer("o", "Reduction", "c1", more="reduction_param { axis: 1 operation: SUMSQ }"),
    "Crop": layer("o", "Crop", ["c1", "data"], more="crop_param { axis: 2 offset: 3 }"),
    "Deconvolution": layer("o", "Deconvolution", "c1",
                           more=f"convolution_param {{ num_output: 2 kernel_size: 2 {NUMBERS} }}"),
    "Slice": layer("o", "Slice", "c1", ["o", "rest"]) + layer("quiet", "Silence", "rest", ()),
    "LRN": layer("o", "LRN", "c1"),
    "Dropout": layer("o", "Dropout", "c1"),
    "Eltwise": layer("o", "Eltwise", ["c1", "c1"], more="eltwise_param { operation: PROD }"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNAWARE)
def test_a_reader_that_knows_no_folds_sees_the_whole_beside_one_that_does(make, kind):
    aware = layer("r1", "ReLU", "c1", "c1") + conv("c2", "c1", "kernel_size: 3 pad: 1")
    require_same_each_way(make, ROOT + aware + UNAWARE[kind] + total("o", "all") + total("c2"))


@pytest.mark.parametrize("kind", UNAWARE)
def test_a_reader_that_knows_no_folds_ends_them(make, kind):
    behind = layer("r1", "ReLU", "c1", "c1") + UNAWARE[kind] + total("o")
    require_same_each_way(make, ROOT + behind)


@pytest.mark.parametrize("behind", [conv("c2", "rs", "kernel_size: 3"), layer("c2", "ReLU", "rs")])
def test_a_reshape_to_other_rows_and_columns_is_of_the_whole(make, behind):
    turned = "reshape_param { shape { dim: 0 dim: 0 dim: 47 dim: 45 } }"
    require_same_each_way(
        make, ROOT + layer("rs", "Reshape", "c1", more=turned) + behind + total("c2")
    )


def test_dropout_drops_elements_that_are_equal_each_by_itself(make):
    nets = each_way(make, ROOT + layer("d", "Dropout", "c1") + total("d"))
    net = nets["folded"]
    net.forward()
    dropped = net.blobs["d"].data[0, 0, :, :18] == 0
    assert folds(net) and len({tuple(column) for column in dropped.T}) > 15


def test_whoever_looks_at_a_blob_or_its_diff_in_between_changes_nothing(make):
    text = ROOT + layer("r1", "ReLU", "c1", "c1") + conv("c2", "c1", "kernel_size: 3 pad: 1")
    nets = each_way(make, text + total("c2"))
    wanted = results(nets["plain"])
    for kind in ("folded", "folded and lean"):
        net = nets[kind]
        net.after_forward(lambda i, net=net: [top.data for top in net._wiring.tops[i]])
        require_same(results(net), wanted)
    net = nets["folded"]
    net.after_backward(lambda i: [bottom.diff for bottom in net._wiring.bottoms[i]])
    require_same(results(net), wanted)


def test_a_bottom_that_is_written_into_before_backward_is_pooled_backward_as_it_was(make):
    text = "force_backward: true " + ROOT + pool("p1", "c1") + total("p1")
    found = []
    for kind, net in each_way(make, text).items():
        if kind == "folded and lean":
            continue
        net.forward()
        net.blobs["c1"].data[...] = 0
        found.append(net.backward(diffs=["c1"])["c1"].copy())
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)


def test_backward_without_forward_says_what_is_missing_or_works(make):
    text = ROOT + pool("p1", "c1") + total("p1")
    net = each_way(make, text)["folded"]
    with pytest.raises(InputError, match=r"layer 'p1' \(Pooling\): .*forward"):
        net.backward()
    net = each_way(make, ROOT + layer("s", "Scale", "c1") + total("s"))["folded"]
    net.backward()


COUNTED = """
import numpy as np
import caffe


class Pictures(caffe.Layer):
    shapes = [(7, 9), (12, 5), (3, 20), (7, 9)]

    def setup(self, bottom, top):
        self.calls = 0

    def reshape(self, bottom, top):
        rows, columns = self.shapes[self.calls % len(self.shapes)]
        self.calls += 1
        top[0].reshape(1, 2, rows, columns)
        self.shape = top[0].data.shape

    def forward(self, bottom, top):
        top[0].data[...] = np.random.RandomState(self.calls).standard_normal(self.shape)

    def backward(self, top, propagate_down, bottom):
        pass


class Doubled(caffe.Layer):
    \"\"\"Uses names that the engine's own layers use too.\"\"\"

    def setup(self, bottom, top):
        self.folds, self.lean, self.windows, self.made, self.under = 7, "no", None, 1, {}

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = 2 * top[0].diff
"""


@pytest.fixture
def users_layers(tmp_path, monkeypatch):
    (tmp_path / "users_layers.py").write_text(COUNTED)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("users_layers", None)


def python(name, kind, bottom=()):
    body = f'python_param {{ module: "users_layers" layer: "{kind}" }}'
    return layer(name, "Python", bottom, name, body)


def test_a_data_layer_of_pictures_of_many_sizes_is_asked_once_a_pass(make, users_layers):
    behind = conv("c1", "data", "kernel_size: 3 pad: 20") + layer("r", "ReLU", "c1", "c1")
    behind += pool("p1", "c1") + conv("c2", "p1", "kernel_size: 3 pad: 1") + total("c2")
    nets = each_way(make, python("data", "Pictures") + behind)
    for _ in range(5):
        wanted = results(nets["plain"])
        for kind in ("folded", "folded and lean"):
            require_same(results(nets[kind]), wanted)
    calls = {net.layers[0].calls for net in nets.values()}
    assert calls == {6} and folds(nets["folded"])  # once when the net is made


def test_a_users_layer_may_have_any_attributes_and_stand_behind_a_fold(make, users_layers):
    behind = layer("r", "ReLU", "c1", "c1") + python("twice", "Doubled", "c1")
    require_same_each_way(make, ROOT + behind + conv("c2", "twice", "kernel_size: 3") + total("c2"))


# -- random nets -------------------------------------------------------------------------------

ones = st.integers(1, 3)


@st.composite
def windowed(draw, name, below):
    """A convolution, sometimes with a large pad of its own, or a pooling."""
    kind = draw(st.sampled_from(["conv", "conv", "root", "max", "ave"]))
    sides = {side: draw(st.tuples(ones, ones)) for side in "hw"}
    if kind == "root":
        return conv(name, below, f"kernel_size: {draw(ones)} pad: {draw(st.integers(4, 9))}")
    fields = ""
    for side, (kernel, stride) in sides.items():
        pad = draw(st.integers(0, 2))
        pad = pad if kind == "conv" else min(pad, kernel // 2)
        fields += f"kernel_{side}: {kernel} stride_{side}: {stride} pad_{side}: {pad} "
    if kind == "conv":
        return conv(name, below, fields)
    rounds = draw(st.sampled_from(["", "round_mode: FLOOR"]))
    return pool(name, below, f"pool: {kind.upper()} {fields} {rounds}")


@st.composite
def nets(draw):
    """A chain behind a layer with a large pad, with side branches and in-place layers, of which
    some know nothing of folds; every end is in the loss."""
    batch, size = draw(st.integers(1, 2)), st.integers(1, 12)
    text = data(batch, 2, draw(size), draw(size))
    pads = f"pad_h: {draw(st.integers(0, 20))} pad_w: {draw(st.integers(4, 25))}"
    text += conv("l0", "data", f"kernel_h: {draw(ones)} kernel_w: {draw(ones)} {pads}")
    below, ends, read = "l0", [], set()
    for i in range(1, draw(st.integers(3, 8))):
        name = f"l{i}"
        kind = draw(st.sampled_from(["window", "window", "window", "relu", "scale", "aside", "on"]))
        if kind == "window":
            text += draw(windowed(name, below))
        elif kind == "relu":
            in_place = below not in read and draw(st.booleans())
            name = below if in_place else name
            text += layer(f"r{i}", "ReLU", below, name, "relu_param { negative_slope: 0.1 }")
        elif kind == "scale":
            text += layer(name, "Scale", below, more="scale_param { bias_term: true }")
        else:  # a layer that knows no folds, as a branch or in the chain
            other = draw(st.sampled_from(["TanH", "Sigmoid", "BNLL"]))
            text += layer(name, other, below)
        if name != below:
            read.add(below)
        if kind == "aside":
            ends.append(name)
        else:
            below = name
    return text + "".join(total(end, f"loss_{end}") for end in {*ends, below})


@pytest.mark.slow
@given(nets())
@settings(max_examples=150, deadline=None)
def test_random_nets_give_the_same_numbers_and_gradients(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("net") / "net.prototxt"
    path.write_text("force_backward: true " + text)
    try:
        made = each_way(lambda _, phase: caffe.Net(str(path), phase), text)
    except InputError:
        return  # a window that does not fit
    for _ in range(2):
        wanted = results(made["plain"])
        for kind in ("folded", "folded and lean"):
            require_same(results(made[kind]), wanted, 5e-5)
