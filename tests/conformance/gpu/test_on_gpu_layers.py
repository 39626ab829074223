"""Every layer type on a GPU against the CPU: random nets of one layer, and fixed cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

import caffe
from caffe.engine import InputError
from tests.conformance import case_tools
from tests.conformance.gpu.sides import CASES as NUMBER, assert_agree, on_cpu_and_gpu
from tests.conformance.scenarios.nets import one_net
from tests.conformance.small import FLOOR, tolerance
from tests.engine.layers.test_layers_on_gpu import CASES, name, run_layer
from tests.helpers.net_texts import data, layer

case_tools.load_strategies()
FIXED = [case for case in CASES if case[0] not in case_tools.STRATEGIES]
BY_HAND = {"HDF5Output", "MemoryData", "Python"}


def test_every_layer_type_is_compared():
    kinds = set(case_tools.STRATEGIES) | {case[0] for case in FIXED} | BY_HAND
    assert kinds == set(caffe.layer_type_list())


@pytest.mark.parametrize("kind", sorted(case_tools.STRATEGIES))
def test_random_nets_of_one_layer_agree(kind):
    compared = []

    @case_tools.drawing(NUMBER)
    @given(case_tools.STRATEGIES[kind])
    def check(one):
        args = case_tools.arguments(kind, one)
        arrays = case_tools.inputs(one)
        try:
            one_net(args, arrays)
        except InputError:
            return  # tests/conformance compares what is refused
        results = on_cpu_and_gpu(lambda: one_net(args, arrays))
        assert_agree(*results, tolerance, FLOOR)
        compared.append(one)

    check()
    assert compared


@pytest.mark.parametrize(("kind", "body", "bottoms", "more"), FIXED, ids=map(name, FIXED))
def test_fixed_cases_agree(kind, body, bottoms, more):
    def run():
        arrays, _ = run_layer(kind, body, bottoms, more)
        return {f"data {i}": array for i, array in enumerate(arrays)}

    assert_agree(*on_cpu_and_gpu(run), tolerance)


def one_pass(text: str, prepare=None) -> dict:
    Path("net.prototxt").write_text(text)
    net = caffe.Net("net.prototxt", caffe.TEST)
    if prepare:
        prepare(net)
    net.forward(), net.backward()
    return {
        f"{what} {name}": array.copy()
        for name, blob in net.blobs.items()
        for what, array in (("data", blob.data), ("diff", blob.diff))
    }


NUMBERS = np.arange(48, dtype=np.float32).reshape(4, 3, 2, 2)


def test_memory_data_agrees():
    text = layer("data", "MemoryData", (), ["data", "label"],
                 "memory_data_param { batch_size: 2 channels: 3 height: 2 width: 2 }")  # fmt: skip
    text += layer("out", "Sigmoid", "data")

    def prepare(net):
        net.set_input_arrays(NUMBERS / 48, np.arange(4, dtype=np.float32))

    assert_agree(*on_cpu_and_gpu(lambda: one_pass(text, prepare)), tolerance)


def test_hdf5_output_agrees():
    h5py = pytest.importorskip("h5py")
    text = data(4, 3) + data(4, name="label") + layer("a", "TanH", "data")
    text += layer("out", "HDF5Output", ["a", "label"], (), 'hdf5_output_param { file_name: "o" }')

    def written():
        found = one_pass(text, lambda net: np.copyto(net.blobs["data"].data, NUMBERS[:, :, 0, 0]))
        with h5py.File("o", "r") as file:
            return {**found, "data of the file": file["data"][()]}

    assert_agree(*on_cpu_and_gpu(written), tolerance)


def test_a_python_layer_agrees():
    Path("gpu_conformance_layer.py").write_text(
        "import caffe\n\n\n"
        "class Square(caffe.Layer):\n"
        "    def setup(self, bottom, top):\n"
        "        pass\n\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(*bottom[0].data.shape)\n\n"
        "    def forward(self, bottom, top):\n"
        "        top[0].data[...] = bottom[0].data ** 2\n\n"
        "    def backward(self, top, propagate_down, bottom):\n"
        "        bottom[0].diff[...] = 2 * bottom[0].data * top[0].diff\n"
    )
    text = "force_backward: true " + data(2, 3) + layer("a", "Sigmoid", "data")
    text += layer("py", "Python", "a", more='python_param { module: "gpu_conformance_layer" '
                  'layer: "Square" }')  # fmt: skip
    text += layer("sum", "Reduction", "py", more="loss_weight: 1")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path.cwd()))
        assert_agree(*on_cpu_and_gpu(lambda: one_pass(text)), tolerance)
