"""Caffe's debug_info: what flows through a net, as mean magnitudes in the log.

Every layer waits for the device, once a pass: that is for finding faults, not for training.
"""

from __future__ import annotations

import math

import torch

from ..compute import transfers
from ..log import ERROR, log

_WHERE = "net.py:1"


def _log_means(lines: list[tuple[str, torch.Tensor]]) -> None:
    """Log the mean magnitude of each tensor behind what is said of it; NaN where there is
    nothing."""
    sums = transfers.fetch(tensor.abs().sum() for _, tensor in lines)
    for (said, tensor), total in zip(lines, sums):
        mean = float(total) / tensor.numel() if tensor.numel() else math.nan
        log(f"{said}: {mean:.6g}", where=_WHERE)


class _Lines:
    """The log lines of one net, where `on` is set."""

    def __init__(self, net):
        self.net = net
        self.on = False
        net.after_forward(self.forward)
        net.after_backward(self.backward)

    def _blob_name(self, ids, i: int) -> str:
        return self.net._wiring.blob_names[ids[i]]

    def forward(self, index: int) -> None:
        if not self.on:
            return
        wiring = self.net._wiring
        layer = wiring.layers[index]
        start = f"    [Forward] Layer {wiring.layer_names[index]}"
        lines = []
        for i, blob in enumerate(wiring.tops[index]):
            name = self._blob_name(wiring.top_ids[index], i)
            lines.append((f"{start}, top blob {name} data", blob.read()))
        specs = layer.layer_param.param
        for i, blob in enumerate(layer.blobs):
            name = (specs[i].name if i < len(specs) else "") or str(i)
            lines.append((f"{start}, param blob {name} data", blob.read()))
        _log_means(lines)

    def backward(self, index: int) -> None:
        if not self.on or not self.net._wiring.layer_needs[index]:
            return
        wiring = self.net._wiring
        layer = wiring.layers[index]
        start = f"    [Backward] Layer {wiring.layer_names[index]}"
        lines = []
        for i, blob in enumerate(wiring.bottoms[index]):
            if wiring.bottom_needs[index][i]:
                name = self._blob_name(wiring.bottom_ids[index], i)
                lines.append((f"{start}, bottom blob {name} diff", blob.read_diff()))
        for i, blob in enumerate(layer.blobs):
            if layer.param_propagate_down[i]:
                lines.append((f"{start}, param blob {i} diff", blob.read_diff()))
        _log_means(lines)


def set_debug_info(net, on: bool) -> None:
    """Log, from now on or no longer, what each layer of `net` makes. Off costs nothing; on, a lean
    net is lean no more."""
    if on and net._plan.lean:
        net._plan.be_lean(False)
    lines = getattr(net, "_debug_lines", None)
    if lines is None and on:
        lines = net._debug_lines = _Lines(net)
    if lines is not None:
        lines.on = on


def log_parameters(net) -> None:
    """The line that follows a whole backward pass: norms over all learnable parameters.

    Nothing where the net's debug_info is off.
    """
    lines = getattr(net, "_debug_lines", None)
    if lines is None or not lines.on:
        return
    blobs = net._wiring.learnable.blobs
    norms = []
    for order in (1, 2):
        for tensors in ([b.read() for b in blobs], [b.read_diff() for b in blobs]):
            found = transfers.fetch(torch.linalg.vector_norm(t, order) for t in tensors)
            each = [float(norm) for norm in found]
            norms.append(sum(each) if order == 1 else math.hypot(*each))
    log(
        "    [Backward] All net params (data, diff): L1 norm = ({:.6g}, {:.6g}); "
        "L2 norm = ({:.6g}, {:.6g})".format(*norms),
        ERROR,
        _WHERE,
    )
