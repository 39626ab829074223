"""The stage ranks: two processes beside one with twice the passes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.training_job import Job
from tools.common.cli import Failure
from tools.float16 import write
from tools.gpu import ranks


@pytest.mark.slow
@pytest.mark.long
def test_two_processes_learn_what_one_with_iter_size_two_learns(tmp_path):
    job = Job(tmp_path / "job")
    ranks.run(job)
    runs = [r for r in job.results if r["kind"] == "run"]
    assert [(r["processes"], r["way"]) for r in runs] == [(1, "none"), (2, "Gloo, on the CPU")]
    assert all(r["ms"] > 0 for r in runs)
    (found,) = [r for r in job.results if r["kind"] == "deviation"]
    assert 0 <= found["worst"] < ranks.LIMIT
    text = ranks.markdown(job.results)
    assert f"Largest deviation: {found['worst']:.1e}, of {found['parameter']}." in text
    assert f"{found['worst']:.1e}" in ranks.main_figure(job.results)


@pytest.fixture
def paths(tmp_path):
    """paths(*changes) -> caffemodels of one parameter that was 0 and has changed so."""

    def make(*changes):
        for number, change in enumerate((0, *changes)):
            weights = {"ip": [np.array([[0.0, change]], "f4"), np.zeros(1, "f4")]}
            write(tmp_path / f"{number}.caffemodel", weights)
        return [tmp_path / f"{number}.caffemodel" for number in range(3)]

    return make


def test_the_deviation_is_a_part_of_what_a_parameter_has_moved(paths):
    worst, name = ranks._deviation(*paths(2.0, 1.5))
    assert (worst, name) == (0.25, "ip[0]")


def test_a_training_that_moves_nothing_shows_nothing(paths):
    with pytest.raises(Failure, match="no parameter has moved"):
        ranks._deviation(*paths(0.0, 0.0))


@pytest.mark.parametrize("gpu, count, expected", [
    (0, 1, ("0,0", "Gloo, of two processes on one GPU")),
    (1, 3, ("1,0", "NCCL, between two GPUs")),
    (None, 0, (None, "Gloo, on the CPU")),
])  # fmt: skip
def test_with_one_gpu_two_processes_share_it(tmp_path, monkeypatch, gpu, count, expected):
    import caffe

    monkeypatch.setattr(caffe.engine, "cuda_device_count", lambda: count)
    job = Job(tmp_path / "job")
    job.gpu = gpu
    assert ranks.devices(job) == expected
