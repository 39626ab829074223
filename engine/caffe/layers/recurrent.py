"""Layers over whole sequences: LSTM and RNN.

They follow J. Donahue et al., "Long-term Recurrent Convolutional Networks for
Visual Recognition and Description" (CVPR 2015), whose indicators δ ("cont") end a sequence.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable

import numpy as np
import torch

from ..core.blob import Blob
from ..core.layer import Layer
from ..log import log
from . import register
from ._common import Scratch, add_params
from ._data import whole
from .lstm_unit import activate, slopes, spread


class Recurrent(Layer):
    """What LSTM and RNN share: x (T, N, ...) and `cont` (T, N), which is 0 where a sequence
    begins and 1 where it goes on, to outputs (T, N, D), D being `num_output`.

    A further bottom `x_static` (N, ...) is seen at every step. Hidden states (1, N, D) begin at
    0 and are carried from one forward pass to the next, or with `expose_hidden` are the last
    bottoms (before the first step) and the last tops (after the last step); those take and give
    no gradient. T is fixed at setup; N may change.

    As in BVLC Caffe, backward goes no further back than the first step, and gives x, x_static
    and all parameters their gradients, whichever of them are asked for.
    """

    allow_force_backward = (True, False)
    _keeps_tops = True
    states: tuple[str, ...] = ()
    """The hidden states' names."""
    rows = 1
    """Rows of the input's and the recurrent weights per output."""
    words = ("x", "h")
    """How BVLC Caffe names the hidden units' weights: W_<x><h>."""
    owners: tuple[str, ...] = ()
    """The layers within that BVLC Caffe names for the recurrent and further parameters."""

    def __init__(self, layer_param, phase: int):
        super().__init__(layer_param, phase)
        exposed = len(self.states) if layer_param.recurrent_param.expose_hidden else 0
        self.num_bottom = (2 + exposed, 3 + exposed)
        self.num_top = (1 + exposed, 1 + exposed)
        self.exposed = exposed

    def setup(self, bottom, top):
        param = self.layer_param.recurrent_param
        self.width = param.num_output
        if self.width < 1:
            raise self.fail("needs a num_output of at least 1")
        shape = bottom[0].shape
        if len(shape) < 3 or 0 in shape:
            raise self.fail(f"needs x of shape (T, N, ...) with elements, not {shape}")
        self.steps, self.inputs = shape[0], math.prod(shape[2:])
        self.static = len(bottom) > 2 + self.exposed
        weight, bias = param.weight_filler, param.bias_filler
        units = self.rows * self.width
        params = [
            ("weights of x", (units, self.inputs), weight),
            ("bias of the hidden units", (units,), bias),
        ]
        if self.static:
            self.static_inputs = math.prod(bottom[2].shape[1:])
            params.append(("weights of x_static", (units, self.static_inputs), weight))
        params.append(("recurrent weights", (units, self.width), weight))
        params += self.more_params(weight, bias)
        add_params(self, *params)
        self.recurrent = 3 if self.static else 2  # index of the recurrent weights
        self.carried = [Blob() for _ in self.states]
        self.kept = Scratch()  # (T, N, rows · D): after the nonlinearities
        self.hidden = Scratch()  # (T + 1, N, D): h before step 1, after step 1, ...

    def more_params(self, weight, bias) -> list:
        return []

    def reshape(self, bottom, top):
        x, cont, names = bottom[0].shape, bottom[1].shape, self.layer_param.bottom
        if len(x) < 3 or 0 in x or math.prod(x[2:]) != self.inputs:
            raise self.fail(
                f"was set up for {self.inputs} inputs from axis 2 on; '{names[0]}' is of shape {x}"
            )
        if x[0] != self.steps:
            raise self.fail(
                f"was set up for {self.steps} time steps, and '{names[0]}' now has {x[0]}; "
                "their number cannot change"
            )
        wanted: list[tuple[int, tuple[int, ...]]] = [(1, (self.steps, x[1]))]
        if self.static:
            static = bottom[2].shape
            if len(static) < 2 or math.prod(static[1:]) != self.static_inputs:
                raise self.fail(
                    f"'{names[2]}' must be of shape (N, ...) with {self.static_inputs} inputs, "
                    f"not {static}"
                )
            wanted.append((2, (x[1], *static[1:])))
        state = (1, x[1], self.width)
        wanted += [(i, state) for i in range(len(bottom) - self.exposed, len(bottom))]
        for i, shape in wanted:
            if bottom[i].shape != shape:
                raise self.fail(
                    f"'{names[i]}' must be of shape {shape} beside '{names[0]}' of shape {x}; "
                    f"it is {cont if i == 1 else bottom[i].shape}"
                )
        for blob in (*self.carried, *top[1:]):
            blob.reshape(*state)
        top[0].reshape(self.steps, x[1], self.width)

    # -- forward --------------------------------------------------------------------------

    def before(self, bottom) -> list[torch.Tensor]:
        """The hidden states (N, D) that the first step sees."""
        given = bottom[len(bottom) - self.exposed :] if self.exposed else self.carried
        return [blob.read()[0] for blob in given]

    def carry(self, top, after: list[torch.Tensor]) -> None:
        for blob, state in zip(self.carried, after):
            blob.write()[0].copy_(state)
        for blob, carried in zip(top[1:], self.carried):
            blob.share_data(carried)

    def held_state(self) -> Callable[[], dict]:
        """A function that gives the `state()` of now, also later; no wait for a GPU until then."""
        held = [blob.read().clone() for blob in self.carried]

        def state() -> dict:
            coded = (base64.b64encode(t.cpu().numpy().tobytes()).decode("ascii") for t in held)
            return {"sequences": held[0].shape[1], **dict(zip(self.states, coded))}

        return state

    def state(self) -> dict:
        """The hidden states that the next forward pass begins with, for JSON."""
        return self.held_state()()

    def restore_state(self, state: dict) -> None:
        """Undo of `state()`. ValueError where its sizes do not fit."""
        shape = (1, whole(state["sequences"]), self.width)
        given = [base64.b64decode(state[name], validate=True) for name in self.states]
        if any(len(values) != 4 * math.prod(shape) for values in given):
            raise ValueError(f"layer '{self.name}' carries {self.width} numbers for each sequence")
        for blob, values in zip(self.carried, given):
            blob.reshape(*shape)
            blob.data[...] = np.frombuffer(values, np.float32).reshape(shape)

    def inputs_of_steps(self, bottom) -> torch.Tensor:
        """(T, N, rows · D): what x and x_static alone give the hidden units, in `kept`."""
        x = bottom[0].read()
        into = self.kept((*x.shape[:2], self.rows * self.width), x.device)
        flat = into.view(-1, into.shape[-1])
        weight = self.blobs[0].read()
        torch.addmm(self.blobs[1].read(), x.view(-1, self.inputs), weight.t(), out=flat)
        word = "W_{}{}_x".format(*self.words)
        self.note("Forward", "x_transform", "top", word, into)
        if self.static:
            static = bottom[2].read().view(-1, self.static_inputs) @ self.blobs[2].read().t()
            self.note("Forward", word + "_static", "top", word + "_static_preshape", static)
            into.add_(static)
        return into

    def recur(self, into: torch.Tensor, hidden: torch.Tensor, cont: torch.Tensor) -> None:
        """Add to a step's units (N, rows · D) what h (N, D) gives them where `cont` is not 0."""
        into.addmm_(hidden * cont, self.blobs[self.recurrent].read().t())

    # -- backward -------------------------------------------------------------------------

    def started(self, bottom, propagate_down) -> None:
        if propagate_down[1]:
            raise self.fail("cannot backpropagate to its continuation indicators")
        if self.kept.tensor.shape[:2] != torch.Size(bottom[0].shape[:2]):
            raise self.fail("backward needs a forward pass over the same shapes first")

    def add_gradients(self, bottom, units: torch.Tensor) -> None:
        """All gradients that follow from those of the units' inputs (T, N, rows · D)."""
        flat = units.view(-1, units.shape[-1])
        x = bottom[0].read().view(-1, self.inputs)
        seen = self.hidden.tensor[:-1] * bottom[1].read().unsqueeze(-1)
        by_matrix = [(0, flat, x), (self.recurrent, flat, seen.view(-1, self.width))]
        if self.static:
            summed = units.sum(0)
            by_matrix.append((2, summed, bottom[2].read().view(-1, self.static_inputs)))
            dx_static = bottom[2].write_diff().view(-1, self.static_inputs)
            torch.mm(summed, self.blobs[2].read(), out=dx_static)
        for index, dy, values in by_matrix:
            self.blobs[index].write_diff().addmm_(dy.t(), values)
        self.blobs[1].write_diff().add_(flat.sum(0))
        torch.mm(flat, self.blobs[0].read(), out=bottom[0].write_diff().view(-1, self.inputs))
        self.note("Backward", "x_transform", "bottom", "x", bottom[0].read_diff())
        static = ["W_{}{}_x_static 0".format(*self.words)] if self.static else []
        owners = ["x_transform 0", "x_transform 1", *static, *self.owners]
        for owner, blob in zip(owners, self.blobs):
            self.note("Backward", owner.split()[0], "param", owner.split()[1], blob.read_diff())

    # -- debug_info -----------------------------------------------------------------------

    def note(self, way: str, step: str, kind: str, blob: str, values: torch.Tensor) -> None:
        """With `debug_info`, log the mean magnitude of a blob within, as BVLC Caffe does; asking
        for it makes the host wait for the device."""
        if self.layer_param.recurrent_param.debug_info:
            size = f"{values.abs().mean().item():g}"
            what = "data" if way == "Forward" else "diff"
            prefix = f"{self.name}_" if self.name else ""
            log(f"    [{way}] Layer {prefix}{step}, {kind} blob {blob} {what}: {size}")


@register("LSTM")
class LSTM(Recurrent):
    """Long short-term memory: at each step, with h and c those of the step before it,

    (i, f, o, g) = W_xc · x + b_c + W_xc_static · x_static + W_hc · (cont · h)
    c' = cont · σ(f) · c + σ(i) · tanh(g),   h' = σ(o) · tanh(c').

    Parameters: W_xc (4D, inputs), b_c (4D), W_xc_static (4D, static inputs) where there is
    x_static, W_hc (4D, D). Hidden states: h, c."""

    states = ("h", "c")
    rows = 4
    words = ("x", "c")
    owners = ("transform_1 0",)

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.cells = Scratch()

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        if self.steps == 1:
            # BVLC Caffe's Concat of one step is that step's memory: who changes the output in
            # place changes the state that is carried on.
            top[0].share_data(self.carried[0])

    def forward(self, bottom, top):
        cont = bottom[1].read().unsqueeze(-1)
        gates = self.inputs_of_steps(bottom)
        shape = (self.steps + 1, gates.shape[1], self.width)
        hidden, cells = self.hidden(shape, gates.device), self.cells(shape, gates.device)
        for memory, state in zip((hidden, cells), self.before(bottom)):
            memory[0].copy_(state)
        for t in range(self.steps):
            self.recur(gates[t], hidden[t], cont[t])
            self.note("Forward", f"gate_input_{t + 1}", "top", f"gate_input_{t + 1}", gates[t])
            activate(gates[t], cont[t])
            i, f, o, g = gates[t].chunk(4, -1)
            torch.mul(f, cells[t], out=cells[t + 1]).addcmul_(i, g)
            torch.tanh(cells[t + 1], out=hidden[t + 1]).mul_(o)
            self.note("Forward", f"unit_{t + 1}", "top", f"c_{t + 1}", cells[t + 1])
            self.note("Forward", f"unit_{t + 1}", "top", f"h_{t + 1}", hidden[t + 1])
        self.carry(top, [hidden[-1], cells[-1]])
        if self.steps > 1:
            top[0].write().copy_(hidden[1:])
        self.note("Forward", "h_concat", "top", "h", hidden[1:])

    def backward(self, top, propagate_down, bottom):
        self.started(bottom, propagate_down)
        cont, dy = bottom[1].read().unsqueeze(-1), top[0].read_diff()
        cells, weight = self.cells.tensor, self.blobs[self.recurrent].read()
        forget = self.kept.tensor.chunk(4, -1)[1]
        units, over_c = slopes(self.kept.tensor, cells[:-1], torch.tanh(cells[1:]))
        dh = dc = None
        for t in reversed(range(self.steps)):
            dh = dy[t] if dh is None else dh.add_(dy[t])
            dc = dh * over_c[t] if dc is None else dc.addcmul_(dh, over_c[t])
            spread(units[t], dc, dh)
            self.note("Backward", f"unit_{t + 1}", "bottom", f"gate_input_{t + 1}", units[t])
            if t:
                dh = torch.mm(units[t], weight).mul_(cont[t])
                dc.mul_(forget[t])
        self.add_gradients(bottom, units)


@register("RNN")
class RNN(Recurrent):
    """A plain recurrent net: at each step, with h that of the step before it,

    h' = tanh(W_xh · x + b_h + W_xh_static · x_static + W_hh · (cont · h))
    o = tanh(W_ho · h' + b_o).

    Parameters: W_xh (D, inputs), b_h (D), W_xh_static (D, static inputs) where there is x_static,
    W_hh (D, D), W_ho (D, D), b_o (D). Hidden state: h; the output is o."""

    states = ("h",)
    owners = ("W_hh_h_0 0", "W_ho_h_1 0", "W_ho_h_1 1")

    def more_params(self, weight, bias):
        width = self.width
        return [("weights of the output", (width, width), weight), ("its bias", (width,), bias)]

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.output = Scratch()  # (T, N, D): the top may be changed in place

    def forward(self, bottom, top):
        cont = bottom[1].read().unsqueeze(-1)
        units = self.inputs_of_steps(bottom)
        hidden = self.hidden((self.steps + 1, *units.shape[1:]), units.device)
        hidden[0].copy_(self.before(bottom)[0])
        for t in range(self.steps):
            self.recur(units[t], hidden[t], cont[t])
            self.note("Forward", f"h_input_sum_{t + 1}", "top", f"h_neuron_input_{t + 1}", units[t])
            torch.tanh(units[t], out=hidden[t + 1])
            self.note("Forward", f"h_neuron_{t + 1}", "top", f"h_{t + 1}", hidden[t + 1])
        self.carry(top, [hidden[-1]])
        weight, bias = (blob.read() for blob in self.blobs[-2:])
        output = self.output(units.shape, units.device)
        flat = hidden[1:].view(-1, self.width)
        torch.addmm(bias, flat, weight.t(), out=output.view(-1, self.width))
        top[0].write().copy_(output.tanh_())
        self.note("Forward", "o_concat", "top", "o", output)

    def backward(self, top, propagate_down, bottom):
        self.started(bottom, propagate_down)
        cont, dy = bottom[1].read().unsqueeze(-1), top[0].read_diff()
        hidden, output = self.hidden.tensor[1:], self.output.tensor
        weight = self.blobs[self.recurrent].read()
        do = (1 - output * output).mul_(dy).view(-1, self.width)
        self.blobs[-2].write_diff().addmm_(do.t(), hidden.view(-1, self.width))
        self.blobs[-1].write_diff().add_(do.sum(0))
        units = torch.mm(do, self.blobs[-2].read()).view(dy.shape)  # as yet, of h
        slope = 1 - hidden * hidden
        for t in reversed(range(self.steps)):
            units[t].mul_(slope[t])
            self.note(
                "Backward", f"h_neuron_{t + 1}", "bottom", f"h_neuron_input_{t + 1}", units[t]
            )
            if t:
                units[t - 1].add_(torch.mm(units[t], weight).mul_(cont[t]))
        self.add_gradients(bottom, units)
