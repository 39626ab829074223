"""The six solvers' updates against formulas in NumPy, and figures of BVLC Caffe 1.0."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.engine import InputError
from tests.helpers.emulated_gpu import emulated_gpus, waits
from tests.helpers.net_texts import CLASSIFIER, params

BASE = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "s" '
FIELDS = {
    "SGD": "momentum: 0.9",
    "Nesterov": "momentum: 0.9",
    "AdaGrad": "delta: 0.001",
    "RMSProp": "rms_decay: 0.8 delta: 0.001",
    "AdaDelta": "momentum: 0.95 delta: 0.001",
    "Adam": "momentum: 0.9 momentum2: 0.99 delta: 0.001",
}
LR_MULT, DECAY_MULT = (1, 2), (1, 0)


class Rules:
    """The update of one parameter by each solver's published rule, in float64."""

    def __init__(self, shape):
        self.a, self.b, self.t = np.zeros(shape), np.zeros(shape), 0

    def SGD(self, g, r):  # noqa: N802 (the solvers' names)
        self.a = 0.9 * self.a + r * g
        return self.a

    def Nesterov(self, g, r):  # noqa: N802
        before = self.a
        self.a = 0.9 * self.a + r * g
        return self.a + 0.9 * (self.a - before)

    def AdaGrad(self, g, r):  # noqa: N802
        self.a = self.a + g**2
        return r * g / (np.sqrt(self.a) + 0.001)

    def RMSProp(self, g, r):  # noqa: N802
        self.a = 0.8 * self.a + 0.2 * g**2
        return r * g / (np.sqrt(self.a) + 0.001)

    def AdaDelta(self, g, r):  # noqa: N802
        self.a = 0.95 * self.a + 0.05 * g**2
        update = g * np.sqrt((self.b + 0.001) / (self.a + 0.001))
        self.b = 0.95 * self.b + 0.05 * update**2
        return r * update

    def Adam(self, g, r):  # noqa: N802
        self.t += 1
        self.a = 0.9 * self.a + 0.1 * g
        self.b = 0.99 * self.b + 0.01 * g**2
        correction = np.sqrt(1 - 0.99**self.t) / (1 - 0.9**self.t)
        return r * correction * self.a / (np.sqrt(self.b) + 0.001)


def give_gradients(solver, seed):
    stream = np.random.RandomState(seed)
    for blob in solver.net.params["ip"]:
        blob.diff[...] = stream.standard_normal(blob.shape)
    return [blob.diff.astype("f8") for blob in solver.net.params["ip"]]


@pytest.mark.parametrize("l1", [False, True])
@pytest.mark.parametrize("kind", FIELDS)
def test_updates_are_the_rules(make_solver, kind, l1):
    """Order of a gradient's ways: clipping of the sum, normalisation, weight decay, the rule."""
    more = 'regularization_type: "L1" clip_gradients: 2 iter_size: 2 ' if l1 else ""
    text = f'{BASE} type: "{kind}" weight_decay: 0.1 {more} {FIELDS[kind]}'
    solver = make_solver(CLASSIFIER, text)
    values = [x.astype("f8") for x in params(solver.net)]
    rules = [Rules(x.shape) for x in values]
    for step in range(4):
        gradients = give_gradients(solver, step)
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        for i, g in enumerate(gradients):
            if l1:
                g = g * min(1, 2 / norm) / 2
            g = g + 0.1 * DECAY_MULT[i] * (np.sign(values[i]) if l1 else values[i])
            values[i] = values[i] - getattr(rules[i], kind)(g, 0.1 * LR_MULT[i])
        solver.apply_update()
    assert solver.iter == 4
    for got, wanted in zip(params(solver.net), values):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


# One parameter of 1, its gradient 0.5, -1, 2 in three iterations, all other fields the schema's
# defaults: the parameter after each, as BVLC Caffe 1.0 has it.
BVLC = {
    "SGD": [0.94999999, 1.05, 0.84999996],
    "Nesterov": [0.94999999, 1.05, 0.84999996],
    "AdaGrad": [0.89999998, 0.98944271, 0.90215558],
    "RMSProp": [-3.5762787e-07, 0.89532304, 0.021203578],
    "AdaDelta": [0.99998999, 1.0000042, 0.99998683],
    "Adam": [0.90000004, 1.0264721, 0.87534028],
}


@pytest.mark.parametrize("kind", BVLC)
def test_default_fields_give_bvlcs_figures(make_solver, kind):
    solver = make_solver(CLASSIFIER, f'{BASE} type: "{kind}"')
    blob = solver.net.params["ip"][0]
    blob.data[...] = 1
    seen = []
    for gradient in (0.5, -1, 2):
        blob.diff[...] = gradient
        solver.apply_update()
        seen.append(float(blob.data.flat[0]))
    assert seen == pytest.approx(BVLC[kind], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("kind", FIELDS)
def test_the_diff_holds_what_was_subtracted(make_solver, kind):
    solver = make_solver(CLASSIFIER, f'{BASE} type: "{kind}" {FIELDS[kind]}')
    before = params(solver.net)
    give_gradients(solver, 0)
    solver.apply_update()
    for old, blob in zip(before, solver.net.params["ip"]):
        np.testing.assert_allclose(old - blob.diff, blob.data, rtol=1e-6)
        assert blob.diff.any()


@pytest.mark.parametrize("kind", FIELDS)
def test_each_class_takes_any_solver_file_as_pycaffes_do(make_solver, kind):
    solver = make_solver(CLASSIFIER, f'{BASE} type: "{kind}"')
    cls = getattr(caffe, f"{kind}Solver")
    assert type(solver) is cls and issubclass(cls, caffe.SGDSolver) and solver.type == kind
    assert type(caffe.AdamSolver("solver.prototxt")) is caffe.AdamSolver


@pytest.mark.parametrize(
    "old, kind",
    [("SGD", "SGD"), ("NESTEROV", "Nesterov"), ("ADAGRAD", "AdaGrad"), ("RMSPROP", "RMSProp"),
     ("ADADELTA", "AdaDelta"), ("ADAM", "Adam")],
)  # fmt: skip
def test_the_older_solver_type_is_understood(make_solver, old, kind):
    assert make_solver(CLASSIFIER, f"{BASE} solver_type: {old}").type == kind


@pytest.mark.parametrize(
    "settings, words",
    [
        ('type: "AdaGrad" momentum: 0.9', ["momentum", "AdaGrad", "remove it"]),
        ('type: "RMSProp" momentum: 0.9', ["momentum", "RMSProp", "remove it"]),
        ('type: "RMSProp" rms_decay: 1', ["rms_decay", "below 1", "not 1"]),
        ('type: "RMSProp" rms_decay: -0.5', ["rms_decay", "at least 0", "not -0.5"]),
        ('type: "adam"', ["type 'adam'", "Adam"]),
        ('type: "Adam" solver_type: ADAM', ["solver_type"]),
        ("snapshot: 5 snapshot_prefix: \"nowhere/s\"", ["snapshot_prefix 'nowhere/s'", "nowhere"]),
    ],
)  # fmt: skip
def test_what_bvlc_refuses_is_refused_in_one_line(make_solver, settings, words):
    base = BASE.replace('snapshot_prefix: "s"', "") if "snapshot_prefix" in settings else BASE
    with pytest.raises(InputError) as raised:
        make_solver(CLASSIFIER, base + settings)
    assert "\n" not in str(raised.value)
    assert all(word in str(raised.value) for word in ["solver.prototxt", *words])


def test_a_gamma_below_zero_is_refused(make_solver):
    text = BASE.replace('"fixed"', '"exp"') + "gamma: -0.5"
    with pytest.raises(InputError, match="solver.prototxt: lr_policy 'exp' needs a gamma"):
        make_solver(CLASSIFIER, text)


@pytest.mark.parametrize("momentum", [1, -1, 1.5])
def test_adam_with_a_senseless_momentum_gives_c_s_numbers_not_a_crash(make_solver, momentum):
    solver = make_solver(CLASSIFIER, f'{BASE} type: "Adam" momentum: {momentum} momentum2: 1.5')
    for step in range(2):
        give_gradients(solver, step)
        solver.apply_update()
    assert not np.isfinite(params(solver.net)[0]).any()


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("kind", FIELDS)
def test_a_restored_run_of_every_solver_is_the_same_to_the_bit(make_solver, kind, form):
    text = f'{BASE} type: "{kind}" {FIELDS[kind]} weight_decay: 0.1 snapshot_format: {form}'
    solver = make_solver(CLASSIFIER, text)
    solver.step(3)
    path = solver.snapshot()
    solver.step(3)
    other = make_solver(CLASSIFIER, text, seed=5)
    other.step(1)
    other.restore(path)
    other.step(3)
    assert other.iter == 6
    assert all(np.array_equal(x, y) for x, y in zip(params(solver.net), params(other.net)))


def test_a_state_of_a_solver_with_another_history_is_refused(make_solver):
    solver = make_solver(CLASSIFIER, f'{BASE} type: "Adam"')
    path = solver.snapshot()
    with pytest.raises(InputError, match="holds 4 history blobs, this solver has 2.*solver type"):
        make_solver(CLASSIFIER, BASE).restore(path)


@pytest.mark.parametrize("kind", FIELDS)
def test_on_the_gpu_every_solver_has_the_cpus_numbers_and_waits_for_nothing(make_solver, kind):
    text = f'{BASE} type: "{kind}" {FIELDS[kind]} weight_decay: 0.1'
    found = []
    with emulated_gpus(1):
        for device in ("cpu", "gpu"):
            caffe.set_mode_cpu() if device == "cpu" else caffe.set_mode_gpu()
            solver = make_solver(CLASSIFIER, text)
            solver.net.blobs["data"].data[...] = np.arange(12).reshape(4, 3) / 10
            solver.step(1)
            waits.clear()
            solver.step(3)
            if device == "gpu":
                assert waits == []
            found.append(params(solver.net))
        caffe.set_mode_cpu()
    for first, second in zip(*found):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
