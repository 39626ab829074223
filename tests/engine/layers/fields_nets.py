"""What every field of nets and solvers does; `field_rows` says what the rows mean."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from caffe.proto import caffe_pb2
from tests.engine.layers.field_rows import Elsewhere, OneNet, OneSolver, Pair, Refused, Same
from tests.helpers.layer_runs import distinct
from tests.helpers.net_texts import CLASSIFIER, data, ip, layer, losses

_FOLDER = Path(tempfile.mkdtemp(prefix="every-field-nets-"))
atexit.register(shutil.rmtree, _FOLDER, True)


def write_weights() -> str:
    """The path of a caffemodel for CLASSIFIER."""
    made = caffe_pb2.NetParameter(name="tiny")
    layer_param = made.layer.add(name="ip", type="InnerProduct")
    for shape in ((3, 3), (3,)):
        blob = layer_param.blobs.add(data=distinct(*shape).ravel().tolist())
        blob.shape.dim.extend(shape)
    path = _FOLDER / "w.caffemodel"
    path.write_bytes(made.SerializeToString())
    return str(path)


BASE = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 4 '
UNSAVED = BASE + "snapshot_after_train: false "
MOMENTUM = BASE + "momentum: 0.9 "
TESTED = BASE + "test_iter: 2 test_interval: 2 "
DISPLAYED = BASE + "display: 2 "
DECAYED = BASE + "weight_decay: 0.1 "
RANDOM = (
    data(4, 3) + data(4, name="label") + layer("drop", "Dropout", "data") + ip("ip", "drop")
    + losses()
)  # fmt: skip
STAGED = CLASSIFIER + layer("more", "ReLU", "data", more='include { stage: "a" }')
LEVELLED = CLASSIFIER + layer("more", "ReLU", "data", more="include { min_level: 1 }")


def solvers(one: str, other: str = BASE, net: str = CLASSIFIER) -> Pair:
    """The row of two solver files that differ in their effect."""
    return Pair(OneSolver(other, net), OneSolver(one, net))


def policy(name: str, one: str, other: str) -> Pair:
    base = BASE.replace("fixed", name)
    return solvers(base + one, base + other)


def solver():
    adam = BASE + 'type: "Adam" momentum: 0.9 '
    rms = BASE + 'type: "RMSProp" '
    bare = BASE.replace('net: "net.prototxt"', "")
    test_nets = bare + 'train_net: "net.prototxt" test_iter: 1 test_interval: 2 '
    one_line = CLASSIFIER.replace("\n", " ").replace("tiny", "other")
    snapshots = BASE + "snapshot: 2 "
    return {
        "net": solvers(BASE.replace("net.p", "other.p")),
        "net_param": solvers(bare + f"net_param {{ {one_line} }}"),
        "train_net": solvers(
            bare + 'train_net: "other.prototxt"', bare + 'train_net: "net.prototxt"'
        ),
        "train_net_param": solvers(bare + f"train_net_param {{ {one_line} }}"),
        "test_net": solvers(
            test_nets + 'test_net: "other.prototxt"', bare + 'train_net: "net.prototxt"'
        ),
        "test_net_param": solvers(
            test_nets + f"test_net_param {{ {one_line} }}", bare + 'train_net: "net.prototxt"'
        ),
        "train_state": solvers(BASE + 'train_state { stage: "a" }', net=STAGED),
        "test_state": solvers(TESTED + 'test_state { stage: "a" }', TESTED, STAGED),
        "test_iter": [
            solvers(TESTED.replace("iter: 2", "iter: 3") + "debug_info: true",
                    TESTED + "debug_info: true"),
            Refused(OneSolver(TESTED.replace("net:", "train_net:")), "test_iter"),
        ],
        "test_interval": [
            solvers(TESTED.replace("val: 2", "val: 1"), TESTED),
            Refused(OneSolver(TESTED.replace("val: 2", "val: 0")), "test_interval"),
        ],
        "test_compute_loss": solvers(TESTED + "test_compute_loss: true", TESTED),
        "test_initialization": solvers(TESTED + "test_initialization: false", TESTED),
        "base_lr": solvers(BASE.replace("0.1", "0.2")),
        "display": solvers(DISPLAYED),
        "average_loss": [
            solvers(DISPLAYED + "average_loss: 3", DISPLAYED),
            Refused(OneSolver(BASE + "average_loss: 0"), "average_loss"),
        ],
        "max_iter": solvers(BASE.replace("iter: 4", "iter: 5")),
        "iter_size": [
            solvers(BASE + "iter_size: 2", net=RANDOM),
            Pair(OneSolver(UNSAVED + "iter_size: 0"), OneSolver(UNSAVED)),  # NaN has no snapshot
        ],
        "lr_policy": [
            solvers(BASE.replace("fixed", name) + "gamma: 0.5 power: 2 stepsize: 2 stepvalue: 2")
            for name in ("step", "exp", "inv", "multistep", "poly", "sigmoid")
        ]
        + [Refused(OneSolver(BASE.replace("fixed", "fixd")), "did you mean 'fixed'")],
        "gamma": [
            policy(name, "gamma: 0.5 " + more, "gamma: 0.6 " + more)
            for name, more in (
                ("step", "stepsize: 2"), ("exp", ""), ("inv", "power: 2"),
                ("multistep", "stepvalue: 2"), ("sigmoid", "stepsize: 2"),
            )
        ],
        "power": [
            policy("inv", "gamma: 0.5 power: 2", "gamma: 0.5 power: 3"),
            policy("poly", "power: 2", "power: 3"),
        ],
        "stepsize": [
            policy(name, "gamma: 0.5 stepsize: 1", "gamma: 0.5 stepsize: 2")
            for name in ("step", "sigmoid")
        ],
        "stepvalue": policy("multistep", "gamma: 0.5 stepvalue: 1", "gamma: 0.5 stepvalue: 2"),
        "momentum": [
            *[solvers(MOMENTUM + f'type: "{kind}"', f'{MOMENTUM.replace("9", "8")} type: "{kind}"')
              for kind in ("SGD", "Nesterov", "AdaDelta", "Adam")],
            *[Refused(OneSolver(MOMENTUM + f'type: "{kind}"'), "momentum cannot")
              for kind in ("AdaGrad", "RMSProp")],
        ],
        "weight_decay": solvers(DECAYED),
        "regularization_type": [
            solvers(DECAYED + 'regularization_type: "L1"', DECAYED),
            Refused(OneSolver(DECAYED + 'regularization_type: "L3"'), "is not L1 or L2"),
        ],
        "clip_gradients": solvers(BASE + "clip_gradients: 0.01"),
        "snapshot": solvers(snapshots),
        "snapshot_prefix": solvers(snapshots + 'snapshot_prefix: "p"', snapshots),
        "snapshot_diff": [
            solvers(f"{snapshots} snapshot_format: {format} snapshot_diff: true",
                    f"{snapshots} snapshot_format: {format}")
            for format in ("BINARYPROTO", "HDF5")
        ],
        "snapshot_format": solvers(BASE + "snapshot_format: HDF5"),
        "snapshot_after_train": solvers(BASE + "snapshot_after_train: false"),
        "solver_mode": Elsewhere(
            "engine/command/test_command.py", "test_a_solver_that_asks_for_a_missing_gpu_is_named"
        ),
        "device_id": Elsewhere(
            "engine/layers/test_every_field.py", "test_device_id_is_the_gpu_of_the_command"
        ),
        "random_seed": solvers(BASE + "random_seed: 5"),
        "type": [
            solvers(BASE + f'type: "{kind}"')
            for kind in ("AdaGrad", "RMSProp", "AdaDelta", "Adam")
        ]
        + [
            solvers(MOMENTUM + 'type: "Nesterov"', MOMENTUM),
            Refused(OneSolver(BASE + 'type: "Sgd"'), "is not one of"),
        ],
        "solver_type": [
            solvers(BASE + "solver_type: ADAGRAD"),
            Refused(OneSolver(BASE + 'solver_type: ADAM type: "Adam"'), "older 'solver_type'"),
        ],
        "delta": [
            solvers(text + "delta: 0.5", text)
            for text in (BASE + 'type: "AdaGrad" ', BASE + 'type: "AdaDelta" ', adam, rms)
        ],
        "rms_decay": [
            solvers(rms + "rms_decay: 0.5", rms),
            Refused(OneSolver(rms + "rms_decay: 1"), "rms_decay must be"),
        ],
        "momentum2": solvers(adam + "momentum2: 0.5", adam),
        "debug_info": solvers(DISPLAYED + "debug_info: true", DISPLAYED),
        "layer_wise_reduce": Elsewhere(
            "engine/training/test_nccl.py", "test_two_processes_train_as_one_does_on_both_batches"
        ),
        "weights": solvers(BASE + f'weights: "{write_weights()}"'),
    }  # fmt: skip


def nets(one: str, other: str) -> Pair:
    return Pair(OneNet(other), OneNet(one))


SMALL = data(2, 3) + ip("ip", "data") + layer("sum", "Reduction", "ip", more="loss_weight: 1")


def net():
    old = layer("r", "ReLU", "x")
    layers = (
        'input: "x" input_shape { dim: 2 } '
        'layers { name: "r" type: %s bottom: "x" top: "y" }'
    )  # fmt: skip
    return {
        "name": nets('name: "a"' + SMALL, 'name: "b"' + SMALL),
        "input": nets(
            'input: "x" input_shape { dim: 2 }' + old,
            'input: "y" input_shape { dim: 2 }' + old.replace('"x"', '"y"'),
        ),
        "input_dim": nets(
            'input: "x"' + "input_dim: 2 " * 4 + old, 'input: "x"' + "input_dim: 3 " * 4 + old
        ),
        "input_shape": nets(
            'input: "x" input_shape { dim: 2 }' + old, 'input: "x" input_shape { dim: 3 }' + old
        ),
        "force_backward": nets("force_backward: true " + SMALL, SMALL),
        "state": nets('state { stage: "a" } ' + STAGED, STAGED),
        "debug_info": nets("debug_info: true " + SMALL, SMALL),
        "layer": nets(SMALL + layer("s", "Silence", "sum", ()), SMALL),
        "layers": nets(layers % "RELU", layers % "TANH"),
    }


def state():
    phased = CLASSIFIER + layer("more", "ReLU", "data", more="include { phase: TEST }")
    return {
        "phase": solvers(BASE + "train_state { phase: TEST }", net=phased),
        "level": solvers(BASE + "train_state { level: 1 }", net=LEVELLED),
        "stage": solvers(BASE + 'train_state { stage: "a" }', net=STAGED),
    }


def rule():
    def included(one: str, before: str = "") -> Pair:
        return nets(before + SMALL + layer("m", "ReLU", "data", more=f"include {{ {one} }}"), SMALL)

    def left_out(one: str, before: str = "") -> Same:
        more = before + SMALL + layer("m", "ReLU", "data", more=f"include {{ {one} }}")
        return Same("the rule is not met", OneNet(more), OneNet(before + SMALL))

    stage = 'state { stage: "a" } '
    return {
        "phase": [included("phase: TRAIN"), left_out("phase: TEST")],
        "min_level": [included("min_level: 0"), left_out("min_level: 1")],
        "max_level": [included("max_level: 0"), left_out("max_level: -1")],
        "stage": [included('stage: "a"', stage), left_out('stage: "b"', stage)],
        "not_stage": [included('not_stage: "b"', stage), left_out('not_stage: "a"', stage)],
    }


def param_spec():
    def two(spec: str, other_spec: str = "") -> str:
        return (
            data(4, 3) + data(4, name="label") + ip("a", "data", more=f"param {{ {spec} }}")
            + ip("ip", "a", more=f"param {{ {other_spec} }}") + losses()
        )  # fmt: skip

    permissive = 'name: "w" share_mode: PERMISSIVE'
    ones = data(4, 1) + data(4, 3, name="more") + data(4, name="label")
    shared = (
        ones + ip("a", "data", more='param { name: "w" }')
        + ip("b", "more", 1, more="param { SPEC }") + layer("s", "Silence", "b", ())
        + ip("ip", "a") + losses()
    )  # fmt: skip
    return {
        "name": Pair(
            OneSolver(BASE, two('name: "w"', 'name: "w"')),
            OneSolver(BASE, two('name: "w"', 'name: "v"')),
        ),
        "share_mode": [
            Refused(
                OneNet(shared.replace("SPEC", 'name: "w" share_mode: STRICT')), "is shared: shape"
            ),
            Same(
                "shapes that agree may be shared either way",
                OneNet(two('name: "w"', permissive)),
                OneNet(two('name: "w"', 'name: "w"')),
            ),
            nets(shared.replace("SPEC", permissive), shared.replace("SPEC", 'name: "u"')),
        ],
        **{
            name: Pair(OneSolver(DECAYED, two("")), OneSolver(DECAYED, two(f"{name}: 0.5")))
            for name in ("lr_mult", "decay_mult")
        },
    }  # fmt: skip


def layer_parameter():
    small = data(2, 3)
    blobs = "blobs { shape { dim: 3 dim: 3 } %s } blobs { shape { dim: 3 } %s }"
    given = blobs % ("data: 2 " * 9, "data: 2 " * 3)
    relu = layer("r", "ReLU", "data")
    deep = (
        small + ip("a", "data") + ip("ip", "a", more="%s")
        + layer("sum", "Reduction", "ip", more="loss_weight: 1")
    )  # fmt: skip
    return {
        "name": nets(small + relu, small + relu.replace('"r" type', '"s" type')),
        "type": nets(small + relu, small + relu.replace("ReLU", "TanH")),
        "bottom": nets(
            small + data(2, 3, name="other") + relu,
            small + data(2, 3, name="other") + relu.replace('"data"', '"other"'),
        ),
        "top": nets(small + relu, small + relu.replace('top: "r"', 'top: "s"')),
        "phase": nets(
            small + layer("d", "Dropout", "data", more="phase: TEST"),
            small + layer("d", "Dropout", "data"),
        ),
        "loss_weight": [
            nets(SMALL.replace("loss_weight: 1", "loss_weight: 2"), SMALL),
            Refused(OneNet(SMALL.replace("loss_weight: 1", "loss_weight: 1 " * 2)), "loss_weight"),
        ],
        "param": [
            nets(
                SMALL.replace("inner_product_param", "param { lr_mult: 0 } inner_product_param"),
                SMALL,
            ),
            Refused(OneNet(small + layer("r", "ReLU", "data", more="param { }")), "param entries"),
        ],
        "blobs": [
            nets(SMALL.replace("inner_product_param", given + " inner_product_param"), SMALL),
            Refused(
                OneNet(SMALL.replace("inner_product_param", "blobs { } inner_product_param")),
                "comes with 1 blobs",
            ),
        ],
        **{
            name: nets(small + layer("r", "ReLU", "data", more=f"{name} {{ phase: {phase} }}"),
                       small + relu)
            for name, phase in (("include", "TEST"), ("exclude", "TRAIN"))
        },
        "propagate_down": [
            nets(deep % "propagate_down: false", deep % ""),
            Refused(
                OneNet(small + layer("r", "ReLU", "data", more="propagate_down: true " * 2)),
                "propagate_down is given",
            ),
        ],
    }  # fmt: skip


TABLE = {
    "SolverParameter": solver,
    "NetParameter": net,
    "NetState": state,
    "NetStateRule": rule,
    "ParamSpec": param_spec,
    "LayerParameter": layer_parameter,
}
