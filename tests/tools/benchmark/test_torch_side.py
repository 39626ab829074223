"""The engine and the PyTorch module: what the bench compares is the same net."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import caffe
from tests.helpers.processes import environment
from tools.benchmark import (
    caffe_side as bench_caffe,
    measures as bench_measures,
    nets as bench_nets,
)
from tools.benchmark.caffe_side import CaffeSide
from tools.benchmark.nets import Case
from tools.benchmark.torch_side import TorchSide

SHRINK = 16


def setup(folder, **more):
    made = bench_measures.Setup(
        nets=["dilated-fcn2s-vgg16"],
        sizes=[(64, 64)],
        sides=["engine", "torch"],
        rounds=1,
        threads=2,
        gpu=None,
        folder=str(folder),
        shrink=SHRINK,
        product=64,
        quick=True,
        data=None,
    )
    return made._replace(**more)


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Function (net, size, changes) → the engine's side and the PyTorch module's, opened."""
    folder = tmp_path_factory.mktemp("bench")

    def opened(net, size=(64, 64), mode="step", classes=5, **changes):
        case = Case(net, size, classes, SHRINK)
        caffe.set_mode_cpu()
        found = setup(folder)
        train = bench_nets.write(str(folder / "net.prototxt"), bench_nets.net_of(case, "train"))
        names = bench_measures.weight_files(found, case)
        CaffeSide(None).save_weights(train, list(case), *names)
        job = bench_measures.job_of(found, case, mode, **changes)
        both = SimpleNamespace(job=job, engine=CaffeSide(None), torch=TorchSide(None, 2))
        for side in (both.engine, both.torch):
            side.open(job)
        return both

    yield opened
    for name, default in (("set_lean", False), ("set_folding", True)):
        bench_caffe.setting(name, default)


@pytest.mark.slow
@pytest.mark.parametrize("net", bench_nets.NETS)
def test_the_pytorch_module_gives_the_engines_losses_before_and_after_updates(sides, net):
    both = sides(net, (64, 70), dropout=False, base_lr=1e-5)
    losses = {k: [getattr(both, k).run()["loss"] for _ in range(3)] for k in ("engine", "torch")}
    np.testing.assert_allclose(losses["torch"], losses["engine"], rtol=1e-5)
    assert abs(losses["engine"][2] / losses["engine"][0] - 1) > 1e-3  # the updates tell


@pytest.mark.slow
@pytest.mark.parametrize("net", ["dilated-fcn2s-vgg16", "fcn8s-vgg16"])
def test_the_pytorch_module_gives_the_engines_scores(sides, net):
    both = sides(net, (64, 70), "forward")
    for side in (both.engine, both.torch):
        assert side.run()["loss"] is None
    assert both.torch.scores().shape == (1, 5, 64, 70)
    scale = np.abs(both.engine.scores()).max()
    np.testing.assert_allclose(both.torch.scores(), both.engine.scores(), atol=1e-5 * scale)


@pytest.mark.slow
def test_training_drops_out_and_testing_does_not(sides):
    both = sides("dilated-fcn2s-vgg16", mode="both", base_lr=0.0)
    for side in (both.engine, both.torch):
        first, scores = side.run()["loss"], np.array(side.scores())
        assert side.run()["loss"] != first
        np.testing.assert_array_equal(side.scores(), scores)


def test_the_module_has_the_nets_parameters(sides):
    both = sides("dilated-fcn2s-vgg19")
    learned = sum(p.numel() for p in both.torch.module.parameters() if p.requires_grad)
    fixed = [name for name in both.engine.net.params if name.startswith(("upscore", "scale"))]
    params = both.engine.net.params
    assert learned == sum(b.count for n in params if n not in fixed for b in params[n])


@pytest.mark.slow
def test_the_torch_side_leaves_the_engine_alone(root):
    """The engine changes how the C library allocates, which would speed the plain module up."""
    code = "import sys; import tools.benchmark.torch_side; sys.exit('caffe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment(root)).returncode == 0


@pytest.mark.slow
def test_the_small_net_has_20_layers_that_go_backward(tmp_path, sides):
    engine = sides("dilated-fcn2s-vgg16").engine
    path = tmp_path / "small.prototxt"
    path.write_text(bench_nets.small_layers())
    assert path.read_text().count("layer {") == 20
    assert 0 < engine.iterate(str(path), 2)["seconds"] < 60
    bench_caffe.setting("set_lean", False)
    net = caffe.Net(str(path), caffe.TRAIN)
    net.blobs["data"].data[...] = 1
    net.forward()
    net.backward()
    assert np.any(net.params["conv1"][0].diff)
