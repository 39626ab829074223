"""LSTMUnit: one step of an LSTM, and its arithmetic."""

from __future__ import annotations

import torch

from ..core.layer import Layer
from . import register


def activate(gates: torch.Tensor, cont: torch.Tensor) -> None:
    """In place, gates (N, 4D) before the nonlinearities become (i, f, o, g): σ for the first
    three, tanh for the last, and f times `cont` (N, 1), which is 0 wherever `cont` is."""
    width = gates.shape[-1] // 4
    gates[:, : 3 * width].sigmoid_()
    gates[:, 3 * width :].tanh_()
    gates[:, width : 2 * width].mul_(cont).masked_fill_(cont == 0, 0)


def slopes(acts: torch.Tensor, c_before: torch.Tensor, tanh_c: torch.Tensor):
    """What the gradient of a step is made of, from its (i, f, o, g) (..., 4D), the cells before
    it and tanh of those after it (..., D): the gates' slopes (..., 4D), of the cells for i, f
    and g and of the output for o, and the slope of the output over the cells (..., D)."""
    i, f, o, g = acts.chunk(4, -1)
    found = torch.empty_like(acts)
    of_i, of_f, of_o, of_g = found.chunk(4, -1)
    torch.mul(g, i, out=of_i).mul_(1 - i)
    torch.mul(c_before, f, out=of_f).mul_(1 - f)
    torch.mul(tanh_c, o, out=of_o).mul_(1 - o)
    torch.mul(g, g, out=of_g).neg_().add_(1).mul_(i)
    return found, (1 - tanh_c * tanh_c).mul_(o)


def spread(slope: torch.Tensor, dc: torch.Tensor, dh: torch.Tensor) -> None:
    """In place, gates' slopes (N, 4D) times the gradients of cells and output (N, D)."""
    width = dc.shape[-1]
    slope.view(-1, 4, width)[:, :2].mul_(dc.unsqueeze(1))
    slope[:, 2 * width : 3 * width].mul_(dh)
    slope[:, 3 * width :].mul_(dc)


@register("LSTMUnit")
class LSTMUnit(Layer):
    """One step of an LSTM: bottoms are the cells before it (1, N, D), the gates before their
    nonlinearities i, f, o, g (1, N, 4D), and `cont` (1, N); tops the cells c and the output h:

    c = cont · σ(f) · c_before + σ(i) · tanh(g),   h = σ(o) · tanh(c).

    As in BVLC Caffe, both bottoms get their gradients where one is asked for, and cont · σ(f) is
    derived as a sigmoid, which is exact where `cont` is 0 or 1."""

    num_bottom = (3, 3)
    num_top = (2, 2)
    allow_force_backward = (True, True, False)

    def reshape(self, bottom, top):
        cells, gates, cont = (blob.shape for blob in bottom)
        number, width = cells[1:] if len(cells) == 3 else (-1, -1)
        if cells != (1, number, width) or gates != (1, number, 4 * width) or cont != (1, number):
            raise self.fail(
                f"needs cells (1, N, D), gates (1, N, 4D) and cont (1, N); the bottoms' shapes "
                f"are {cells}, {gates} and {cont}"
            )
        for blob in top:
            blob.reshape_like(bottom[0])

    def _acts(self, bottom):
        acts = bottom[1].read()[0].clone()
        activate(acts, bottom[2].read().view(-1, 1))
        return acts

    def forward(self, bottom, top):
        i, f, o, g = self._acts(bottom).chunk(4, -1)
        c = top[0].write()
        torch.mul(f, bottom[0].read()[0], out=c[0]).addcmul_(i, g)
        torch.tanh(c, out=top[1].write()).mul_(o)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[2]:
            raise self.fail("cannot backpropagate to its continuation indicators")
        if not (propagate_down[0] or propagate_down[1]):
            return
        acts, dh = self._acts(bottom), top[1].read_diff()[0]
        slope, over_c = slopes(acts, bottom[0].read()[0], torch.tanh(top[0].read()[0]))
        dc = torch.addcmul(top[0].read_diff()[0], dh, over_c)
        spread(slope, dc, dh)
        bottom[1].write_diff()[0].copy_(slope)
        torch.mul(dc, acts.chunk(4, -1)[1], out=bottom[0].write_diff()[0])
