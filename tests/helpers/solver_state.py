"""What a solver's snapshot says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from caffe.engine import position_path
from caffe.proto import caffe_pb2


def history(solver):
    """The solver's history: float32 arrays in the order of the solverstate, which is written."""
    state = caffe_pb2.SolverState()
    state.ParseFromString(Path(solver.snapshot()).read_bytes())
    return [np.array(blob.data, np.float32).reshape(blob.shape.dim) for blob in state.history]


def recent_losses(solver):
    """The losses whose mean the solver logs, the oldest first; a snapshot is written."""
    return json.loads(Path(position_path(solver.snapshot())).read_text())["losses"]
