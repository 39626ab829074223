"""The nets that a plan is of: what a name means, at which size of picture, for how many classes."""

from __future__ import annotations

import dataclasses
import os
from typing import NamedTuple

from prototxt import build, skeleton, text
from tools import summary
from tools.common.cli import UserError
from tools.common.inputs import kind_of
from tools.common.nets import find_task

MOST_CLASSES = 10000


class Found(NamedTuple):
    """What a name means: NetParameters as they are in the files, and the SolverParameter.

    name    as it is shown
    path    of the file that stands for it, which errors name
    train, test, deploy   None where there is none
    solver  None where there is none
    """

    name: str
    path: str
    train: object
    test: object
    deploy: object
    solver: object


def find(name):
    """The Found of a prototxt, a folder with train, val, deploy and solver.prototxt, a solver's
    prototxt, or TASK/NET. UserError for others."""
    for place in (name, os.path.join(summary.NETS, name)):
        if os.path.isdir(place):
            found = _in_folder(place)
            if found is not None:
                return found
    path = summary.find_net(name)
    if kind_of(path) == "solver":
        return _of_solver(path)
    net = skeleton.read_prototxt(path)
    solver = os.path.join(os.path.dirname(path), "solver.prototxt")
    solver = _solver(solver) if os.path.isfile(solver) else None
    trained = net if _learns(net) else None
    return Found(summary.short_name(path), path, trained, None, net, solver)


def _in_folder(folder):
    files = {
        phase: os.path.join(folder, f"{phase}.prototxt")
        for phase in ("train", "val", "deploy", "solver")
    }
    there = {phase: path for phase, path in files.items() if os.path.isfile(path)}
    if not there.keys() - {"solver"}:
        return _of_solver(there["solver"]) if there else None
    nets = {phase: skeleton.read_prototxt(there[phase]) for phase in there.keys() - {"solver"}}
    shown = summary.short_name(files["deploy"])
    path = next(there[phase] for phase in ("train", "deploy", "val") if phase in there)
    return Found(
        shown if shown != files["deploy"] else folder, path, nets.get("train"), nets.get("val"),
        nets.get("deploy") or nets.get("val") or nets.get("train"),
        _solver(there["solver"]) if "solver" in there else None,
    )  # fmt: skip


def _of_solver(path):
    solver = _solver(path)
    train = solver.train_net or solver.net
    if not train:
        raise UserError(f"{path}: names no net in train_net or net")
    test = (list(solver.test_net) or [solver.net if solver.test_iter else ""])[0]
    nets = [skeleton.read_prototxt(_near(path, one)) if one else None for one in (train, test)]
    return Found(path, path, nets[0], nets[1], nets[1] or nets[0], solver)


def _near(solver, net):
    """A net's file that a solver names, from the present folder or else from the solver's."""
    beside = os.path.join(os.path.dirname(solver), os.path.basename(net))
    return beside if not os.path.exists(net) and os.path.isfile(beside) else net


def _solver(path):
    from caffe.proto import caffe_pb2

    return text.read(path, caffe_pb2.SolverParameter())


def _learns(net):
    return any("Loss" in layer.type or any(layer.loss_weight) for layer in net.layer)


def for_classes(found, count):
    """The Found for `count` classes, made by the generators. UserError for a net that they did not
    make."""
    net = os.path.basename(os.path.dirname(os.path.abspath(found.path)))
    task = find_task(None, found.path)
    if task is None or net not in build.NETS:
        raise UserError(
            f"{found.path}: is none of the generators' nets, so that --classes cannot change it; "
            "leave --classes out, or name TASK/NET"
        )
    task = dataclasses.replace(task, classes=tuple(map(str, range(count))))
    made = (build.net_proto(task, net, phase) for phase in build.PHASES)
    train, test, deploy = made
    return found._replace(train=train, test=test, deploy=deploy)


def sized(found, size):
    """(train, test, deploy) with Input layers of rows and columns `size` in place of their data;
    None: their own size. Each is None where Found has none."""
    pairs = ((found.train, "TRAIN"), (found.test, "TEST"), (found.deploy, "TEST"))
    return tuple(None if net is None else summary.sized(net, size, phase) for net, phase in pairs)


def size_of(net):
    """(rows, columns) of a sized net's first input of four axes; None where there is none."""
    for layer in net.layer:
        for shape in layer.input_param.shape:
            if len(shape.dim) == 4:
                return tuple(shape.dim[2:])
    return None
