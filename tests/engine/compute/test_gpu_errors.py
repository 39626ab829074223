"""What PyTorch raises where a GPU is out of memory or fails, in nets, solvers and the tool."""

from __future__ import annotations

import pytest
import torch

import caffe
from caffe import command
from caffe.engine import Error
from tests.helpers.net_texts import data, ip, losses

NET = data(4, 3) + data(4, name="label") + ip("ip", "data") + losses()
SOLVER = (
    'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 3 snapshot: 1 '
    'snapshot_prefix: "s" solver_mode: CPU '
)
OUT = torch.cuda.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 5.93 GiB of "
    "which 1.01 GiB is free. If reserved but unallocated memory is large try setting X"
)
LOST = RuntimeError(
    "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be "
    "asynchronously reported at some other API call\nFor debugging consider passing X"
)


@pytest.fixture
def fail(monkeypatch):
    """fail(error, after): InnerProduct's forward raises it from then on."""
    from caffe.layers.inner_product import InnerProduct

    forward, calls = InnerProduct.forward, []

    def fail(error, after=0):
        def forward_or_fail(self, bottom, top):
            calls.append(0)
            if len(calls) > after:
                raise error
            forward(self, bottom, top)

        monkeypatch.setattr(InnerProduct, "forward", forward_or_fail)

    return fail


def test_out_of_memory_is_an_error_of_one_line_with_the_remedies(make, fail):
    net = make(NET, caffe.TRAIN)
    fail(OUT)
    with pytest.raises(Error) as caught:
        net.forward()
    line = str(caught.value)
    assert caught.value.exit_code == 1 and "\n" not in line
    for words in ("out of memory", "smaller batch", "crop", "set_lean", "recompute", "2.00 GiB"):
        assert words in line
    assert "If reserved" not in line


@pytest.mark.parametrize("told", ["CUDA error: out of memory",
                                  "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `x`",
                                  "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"])  # fmt: skip
def test_memory_that_a_library_did_not_get_is_out_of_memory_too(told):
    assert "out of memory: take smaller" in str(caffe.engine.gpu_error(RuntimeError(told)))


def test_a_gpu_that_fails_says_to_start_again_from_a_snapshot(make_solver, fail):
    solver = make_solver(NET, SOLVER)
    fail(LOST)
    with pytest.raises(Error, match="illegal memory access was encountered; start again") as caught:
        solver.step(1)
    assert "asynchronously" not in str(caught.value)
    assert caught.value.__cause__ is LOST


def test_code_that_is_missing_says_to_install_another_build():
    error = RuntimeError("CUDA error: no kernel image is available for execution on the device")
    assert "install another build" in str(caffe.engine.gpu_error(error))


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="PyTorch before 2.8")
def test_an_accelerators_error_is_known_by_its_kind():
    assert caffe.engine.gpu_error(torch.AcceleratorError("device-side assert")) is not None


@pytest.mark.parametrize("error", [RuntimeError("odd"), ValueError("CUDA error"), Error("x")])
def test_other_errors_stay_what_they_are(make, fail, error):
    net = make(NET, caffe.TRAIN)
    fail(error)
    with pytest.raises(type(error)) as caught:
        net.forward()
    assert caught.value is error and caffe.engine.gpu_error(error) is None


def test_training_with_the_tool_ends_with_1_and_keeps_its_snapshots(write, tmp_path, fail, capfd):
    write(NET)
    write(SOLVER, "solver.prototxt")
    fail(OUT, after=2)
    with pytest.raises(SystemExit) as caught:
        command.main(["train", "-solver", "solver.prototxt"])
    assert caught.value.code == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("error: the GPU is out of memory: take smaller images")
    assert (tmp_path / "s_iter_2.solverstate").exists()


@pytest.mark.parametrize(
    "text",
    [
        "GET was unable to find an engine to execute this computation",
        "FIND was unable to find an engine to execute this computation",
        "CUDA driver error: out of memory",
    ],
)
def test_what_cudnn_says_where_memory_is_short_is_out_of_memory(text):
    assert "the GPU is out of memory: take smaller images" in str(
        caffe.engine.gpu_error(RuntimeError(text))
    )
