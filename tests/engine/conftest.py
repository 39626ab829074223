"""Nets and solvers from prototxt text."""

from __future__ import annotations

import contextlib
import resource

import pytest
from net_texts import fill

import caffe


@pytest.fixture(autouse=True)
def on_the_cpu():
    caffe.set_mode_cpu()
    caffe.set_random_seed(1)


@pytest.fixture
def largest_file():
    """largest_file(size): a context in which no file can grow beyond `size` bytes."""

    @contextlib.contextmanager
    def largest_file(size):
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    return largest_file


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(text, name) -> path of a new file; its folder is the current one."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="net.prototxt"):
        (tmp_path / name).write_text(text)
        return name

    return write


@pytest.fixture
def make(write):
    """make(net text, phase) -> Net."""

    def make(text, phase=caffe.TEST, name="net.prototxt", **more):
        return caffe.Net(write(text, name), phase, **more)

    return make


@pytest.fixture
def make_solver(write):
    """make_solver(net text, solver text) -> solver whose parameters are seeded numbers."""

    def make_solver(net, settings, seed=0):
        write(net)
        solver = caffe.get_solver(write(settings, "solver.prototxt"))
        fill(solver.net, seed)
        return solver

    return make_solver
