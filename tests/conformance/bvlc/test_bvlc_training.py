"""A small net trained under every solver, learning rate policy and setting: parameters and losses
within 1e-4, solver states that go over from one Caffe to the other, the same log.

The change of each parameter (what training added) is compared too, more loosely: it is a small
difference of larger numbers."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.conformance import both, report
from tests.conformance.nets import CLASSIFIER, layer, net

FIXED = 'lr_policy: "fixed"'
POLICIES = {
    "fixed": [FIXED],
    "step": ['lr_policy: "step"', "gamma: 0.5", "stepsize: 16"],
    "exp": ['lr_policy: "exp"', "gamma: 0.95"],
    "inv": ['lr_policy: "inv"', "gamma: 0.1", "power: 0.75"],
    "multistep": [
        'lr_policy: "multistep"',
        "gamma: 0.3",
        "stepvalue: 5",
        "stepvalue: 20",
        "stepvalue: 20",
        "stepvalue: 35",
    ],
    "poly": ['lr_policy: "poly"', "power: 0.9", "max_iter: 60"],
    "sigmoid": ['lr_policy: "sigmoid"', "gamma: 0.3", "stepsize: 20"],
}
SETTINGS = {
    "plain": [FIXED],
    "momentum": [FIXED, "momentum: 0.9"],
    "momentum 0.99 and weight decay, as published": [
        FIXED,
        "momentum: 0.99",
        "weight_decay: 0.0005",
    ],
    "strong weight decay": [FIXED, "momentum: 0.5", "weight_decay: 0.1"],
    "L1 weight decay": [FIXED, "weight_decay: 0.01", 'regularization_type: "L1"'],
    "iter_size 2": [FIXED, "momentum: 0.9", "weight_decay: 0.01", "iter_size: 2"],
    "clip_gradients": [FIXED, "momentum: 0.9", "clip_gradients: 0.5", "weight_decay: 0.01"],
    "clip_gradients and iter_size 3": [FIXED, "clip_gradients: 0.5", "iter_size: 3"],
    "average_loss": [FIXED, "average_loss: 5", "display: 4"],
    "layer_wise_reduce": [FIXED, "layer_wise_reduce: false"],
}
# With each solver's usual rate. Adam's and its like divide by the size of past gradients, so a
# rate moves every parameter by as much, whatever its gradient.
SOLVERS = {
    "SGD": ["base_lr: 0.05", "momentum: 0.9", "weight_decay: 0.01"],
    "Nesterov": ["base_lr: 0.05", "momentum: 0.9", "weight_decay: 0.01"],
    "AdaGrad": ["base_lr: 0.02", "weight_decay: 0.01"],
    "RMSProp": ["base_lr: 0.002", "rms_decay: 0.9", "weight_decay: 0.01"],
    "AdaDelta": ["base_lr: 1", "momentum: 0.95", "delta: 1e-6", "weight_decay: 0.01"],
    "Adam": ["base_lr: 0.002", "momentum: 0.9", "weight_decay: 0.01"],
}
TOGETHER = {
    "L1, iter_size 2, clip_gradients": [
        'regularization_type: "L1"',
        "iter_size: 2",
        "clip_gradients: 0.4",
    ],
    "other delta": ["delta: 0.01"],
    "rms_decay": ["rms_decay: 0.5"],
    "momentum2": ["momentum2: 0.9"],
}
FORMATS = {"BINARYPROTO": [], "HDF5": ["snapshot_format: HDF5"]}
# How far a parameter moves in 20 iterations is well above this in every setting here.
CHANGE_FLOOR = 1e-3


def tolerance(name):
    return 1e-3 if name.startswith("change") else 1e-4


def agree(what, lines, seed=0, steps=20, group="20 iterations"):
    args = {"prototxt": CLASSIFIER, "solver": lines, "steps": steps, "seed": seed}
    errors = both.compare(*both.run_both("training", args), tolerance, CHANGE_FLOOR)
    report.record(group, what, errors)


def of(kind, *more):
    """The lines of a solver, a later one in the place of an earlier one of the same field."""
    lines = {line.split(":")[0]: line for line in [f'type: "{kind}"', *SOLVERS[kind], FIXED]}
    for line in more:
        lines.pop(line.split(":")[0], None)
    return [*lines.values(), *more]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", SOLVERS)
def test_every_solver_agrees_under_every_policy(kind, policy):
    lines = of(kind, *POLICIES[policy])
    agree(f"{kind}, seven lr policies", lines, steps=50, group="50 iterations")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("seed", [0, 1])
def test_settings_of_sgd_agree(setting, seed):
    agree(setting, ["base_lr: 0.05", *SETTINGS[setting]], seed)


@pytest.mark.parametrize("setting", TOGETHER)
@pytest.mark.parametrize("kind", list(SOLVERS)[1:])
def test_settings_of_the_other_solvers_agree(kind, setting):
    agree(f"{kind}, {setting}", of(kind, *TOGETHER[setting]))


@pytest.mark.parametrize("kind", SOLVERS)
def test_updates_of_given_gradients_agree(kind):
    lines = [f'type: "{kind}"', "base_lr: 0.1", 'lr_policy: "step"', "gamma: 0.5", "stepsize: 2"]
    args = {"prototxt": CLASSIFIER, "solver": lines, "steps": 5}
    errors = both.compare(*both.run_both("updates_by_hand", args), 1e-4)
    report.record("solvers", f"{kind}: updates of given gradients, default fields", errors)


@pytest.mark.parametrize("old", ["SGD", "NESTEROV", "ADAGRAD", "RMSPROP", "ADADELTA", "ADAM"])
def test_the_older_solver_type_makes_the_same_solver(old):
    lines = [f"solver_type: {old}", "base_lr: 0.01", FIXED]
    args = {"prototxt": CLASSIFIER, "solver": lines, "steps": 1}
    both.compare(*both.run_both("updates_by_hand", args), 1e-4)


# -- snapshots


def select(results, prefix):
    return {k: v for k, v in results.items() if k.startswith(prefix)}


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("writer", both.SIDES)
@pytest.mark.parametrize("kind", SOLVERS)
def test_a_run_of_one_is_gone_on_with_by_the_other(kind, writer, format_name, tmp_path):
    reader = both.SIDES[1 - both.SIDES.index(writer)]
    lines = of(kind, 'lr_policy: "multistep"', "gamma: 0.5", "stepvalue: 3", "stepvalue: 12")
    args = {"prototxt": CLASSIFIER, "solver": lines + FORMATS[format_name], "steps": 10}
    args["folder"] = str(tmp_path)
    written = both.run(writer, "train_and_snapshot", args)
    other = both.run(reader, "restore_and_train", args)
    for prefix, limit in (("at the snapshot", 0), ("after", 1e-4), ("losses", 1e-4)):
        theirs = select(written, prefix)
        assert theirs
        errors = both.compare(theirs, select(other, prefix), limit)
        report.record("files", f"{kind} of {writer}, {format_name}: 10 iterations on", errors)
    again = both.run(reader, "restore_and_snapshot", args)
    both.compare(select(written, "state: "), select(again, "state: "), 0)
    report.record("files", f"solverstate of {kind} by {writer}, {format_name}: to the bit")


@pytest.mark.parametrize("format_name", FORMATS)
def test_snapshot_diff_stores_the_same(format_name):
    lines = ["base_lr: 0.05", FIXED, "momentum: 0.9", "snapshot_diff: true", *FORMATS[format_name]]
    theirs, ours = both.run_both("stored_gradients", {"prototxt": CLASSIFIER, "solver": lines})
    assert len(theirs) >= 8
    report.record("files", f"snapshot_diff, {format_name}", both.compare(theirs, ours, 1e-4))


# -- the nets of a solver

STAGED = CLASSIFIER + net(
    layer("deep", "InnerProduct", "pool1", more='inner_product_param { num_output: 2 } '
          'include { phase: TEST stage: "deep" }'),
    layer("high", "Pooling", "conv1", more="pooling_param { kernel_size: 2 } "
          "include { min_level: 2 }"),
    layer("told", "Silence", "label", [], more='exclude { stage: "quiet" }'),
)  # fmt: skip
INLINE = STAGED.replace("\n", " ")
STATES = ['test_state { stage: "deep" level: 1 }', 'test_state { level: 2 stage: "quiet" }']
TESTED = ["base_lr: 0.05", FIXED, "test_interval: 1", "test_iter: 2", "test_iter: 1"]
NETS = {
    "test_state": ([*TESTED, *STATES], "net.prototxt"),
    "train_state": ([*TESTED, 'train_state { level: 3 stage: "quiet" }'], "net.prototxt"),
    "weights in every net": ([*TESTED, 'weights: "w.caffemodel , w.caffemodel"'], "net.prototxt"),
    "test_net and net": ([*TESTED, *STATES, 'test_net: "net.prototxt"'], "net.prototxt"),
    "net_param": ([*TESTED, *STATES, f"net_param {{ {INLINE} }}"], None),
    "a state in net_param": (
        [*TESTED, *STATES, f"net_param {{ {INLINE} state {{ level: 5 }} }}"],
        None,
    ),
    "train_net, test_net_param and test_net": (
        [
            *TESTED,
            *STATES,
            'train_net: "net.prototxt"',
            'test_net: "net.prototxt"',
            f'test_net_param {{ {INLINE} state {{ stage: "deep" }} }}',
        ],
        None,
    ),
    "test_initialization": ([*TESTED, "test_initialization: false"], "net.prototxt"),
    "no test iterations": (
        [*TESTED[:3], "test_iter: 0", "test_compute_loss: true"],
        "net.prototxt",
    ),
}


@pytest.mark.parametrize("what", NETS)
def test_the_nets_of_a_solver_agree(what):
    lines, file = NETS[what]
    args = {"prototxt": STAGED, "solver": lines, "net_file": file}
    args["compare_weights"] = what.startswith("weights")
    errors = both.compare(*both.run_both("solver_nets", args), 1e-4)
    report.record("solvers", f"nets: {what}", errors)


REFUSED = {
    "momentum with AdaGrad": ['type: "AdaGrad"', "momentum: 0.9"],
    "momentum with RMSProp": ['type: "RMSProp"', "momentum: 0.9"],
    "rms_decay 1": ['type: "RMSProp"', "rms_decay: 1"],
    "rms_decay below 0": ['type: "RMSProp"', "rms_decay: -0.1"],
    "an unknown type": ['type: "adam"'],
    "type and solver_type": ['type: "Adam"', "solver_type: ADAM"],
    "average_loss 0": ["average_loss: 0"],
    "test_iter without test_interval": ["test_iter: 1"],
    "test_state of another number": ["test_iter: 1", "test_interval: 1", *STATES],
    "test_net without test_iter": ['test_net: "net.prototxt"', "test_interval: 1"],
    "two training nets": ['train_net: "net.prototxt"'],
    **{
        f"gamma below 0 with {p}": [f'lr_policy: "{p}"', "gamma: -0.1", "stepsize: 1", "power: 1"]
        for p in ("step", "exp", "inv", "multistep", "sigmoid")
    },
    "weights that are not there": ['weights: "nowhere.caffemodel"'],
    "snapshots into no folder": ["snapshot: 5", 'snapshot_prefix: "nowhere/s"'],
    "an unknown regularization_type": ['regularization_type: "L3"', "weight_decay: 1"],
}


@pytest.mark.parametrize("what", REFUSED)
def test_both_refuse(what):
    lines = ["base_lr: 0.05", *REFUSED[what]]
    lines += [] if any("lr_policy" in line for line in lines) else [FIXED]
    args = {"prototxt": CLASSIFIER, "solver": lines, "steps": 1}
    assert both.both_or_neither("training", args) is None, "both accept it"
    report.record("solvers", "refused by both")


# -- the log

LOGGED = """
import numpy as np
import caffe
solver = caffe.get_solver("solver.prototxt")
stream = np.random.RandomState(0)
for net in [solver.net, *solver.test_nets]:
    for name, blobs in net.params.items():
        for blob in blobs:
            blob.data[...] = stream.standard_normal(blob.data.shape) * 0.3
    net.blobs["data"].data[...] = stream.standard_normal(net.blobs["data"].data.shape)
    net.blobs["label"].data[...] = [0, 1, 2, 0]
solver.solve()
"""
NUMBER = re.compile(r"(?<![\w.])-?\d+\.?\d*(?:e[-+]\d+)?(?![\w.])")


def log_of(side, folder):
    """The lines from "Solving" on, as (level, text without its numbers, numbers)."""
    env = dict(both.environment(side), GLOG_minloglevel="0")
    command = [*both.command(side), "log.py"]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = re.findall(r"(?m)^([IWE])\d{4} \S+ +\d+ \S+\] (.*)$", done.stderr)
    # Of a layer that a net sharing parameters lacks: the engine shares without a word.
    lines = [line for line in lines if not line[1].startswith("Ignoring source layer")]
    start = next(i for i, line in enumerate(lines) if line[1].startswith("Solving"))
    lines = [(level, re.sub(r"\(\S+ iter/s, \S+s/", "(", text)) for level, text in lines[start:]]
    return [
        (level, NUMBER.sub("N", text), [float(n) for n in NUMBER.findall(text)])
        for level, text in lines
    ]


def test_the_log_of_a_training_agrees(tmp_path):
    """Several test nets, debug_info, clipping, steps, smoothed loss, snapshots."""
    settings = [
        'net: "net.prototxt"', "base_lr: 0.05", 'lr_policy: "multistep"', "gamma: 0.5",
        "stepvalue: 2", "stepvalue: 2", "stepvalue: 5", "momentum: 0.9", "clip_gradients: 0.3",
        "display: 2", "debug_info: true", "average_loss: 3", "max_iter: 6", "snapshot: 4",
        "test_interval: 3", "test_iter: 2", "test_iter: 1", "test_iter: 0", "iter_size: 2",
        'snapshot_prefix: "s"', 'test_state { stage: "deep" }', "test_state { level: 2 }",
        'test_state { stage: "quiet" }',
    ]  # fmt: skip
    (tmp_path / "net.prototxt").write_text('name: "logged"\n' + STAGED)
    (tmp_path / "solver.prototxt").write_text("\n".join(settings))
    (tmp_path / "log.py").write_text(LOGGED)
    theirs, ours = (log_of(side, tmp_path) for side in both.SIDES)
    assert [line[:2] for line in theirs] == [line[:2] for line in ours]
    assert sum("[Backward]" in line[1] for line in theirs) > 50
    for (_, text, first), (_, _, second) in zip(theirs, ours):
        assert first == pytest.approx(second, rel=1e-4, abs=1e-6), text
    report.record("solvers", "the log of a training")
