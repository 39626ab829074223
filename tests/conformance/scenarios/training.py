"""Scenarios of solvers and of files: training, snapshots, weights."""

from __future__ import annotations

import os

import numpy as np

import caffe
from caffe.proto import caffe_pb2

from .common import (
    fill_params,
    make_net,
    parameters,
    prefixed,
    structure,
    write_text,
)


def solver_text(settings, net_file="net.prototxt"):
    lines = [f'net: "{net_file}"'] if net_file else []
    lines += ["solver_mode: CPU", *settings]
    if not any(line.startswith("snapshot_prefix") for line in settings):
        lines.append('snapshot_prefix: "s"')
    return write_text("\n".join(lines), "solver.prototxt")


def make_solver(args):
    write_text(args["prototxt"])
    solver = caffe.get_solver(solver_text(args["solver"], args.get("net_file", "net.prototxt")))
    fill_params(solver.net, args.get("seed", 0), args.get("param_scale", 0.3))
    return solver


def train(solver, steps, seed, start=0):
    """`steps` iterations, each on its own random batch written into `data` and `label`."""
    losses = []
    for i in range(start, start + steps):
        stream = np.random.RandomState(seed + i)
        data, label = solver.net.blobs["data"].data, solver.net.blobs["label"].data
        data[...] = stream.standard_normal(data.shape)
        label[...] = stream.randint(0, 4, label.shape)
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    return {"losses": np.array(losses)}


def training(args, arrays):
    """args: prototxt, solver (lines), steps. The parameters after that many iterations."""
    solver = make_solver(args)
    before = parameters(solver.net, "start")
    results = train(solver, args["steps"], 100)
    results["iteration"] = solver.iter
    results.update(parameters(solver.net))
    for name, value in before.items():
        results["change of " + name[6:]] = results["param " + name[6:]] - value
    return results


def solver_nets(args, arrays):
    """The nets that a solver makes, and what its test nets hold before and after one step."""
    write_text(args["prototxt"])
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    fill_params(net, 6)
    net.save("w.caffemodel")
    solver = make_solver(args)
    nets = dict(
        [("train", solver.net)] + [(f"test {i}", n) for i, n in enumerate(solver.test_nets)]
    )
    results = {f"{name} net": structure(net) for name, net in nets.items()}
    if args.get("compare_weights"):
        for name, net in list(nets.items())[1:]:
            results.update(prefixed(f"{name} at first: ", parameters(net)))
    solver.step(1)
    for name, net in nets.items():
        results.update(prefixed(f"{name} after a step: ", parameters(net)))
    return results


def updates_by_hand(args, arrays):
    """apply_update() called by itself on given gradients: it counts iterations too."""
    solver = make_solver(args)
    results = {"kind": type(solver).__name__, "lr at first": solver.lr}
    for i in range(args["steps"]):
        stream = np.random.RandomState(i)
        for blobs in solver.net.params.values():
            for blob in blobs:
                blob.diff[...] = stream.standard_normal(blob.diff.shape)
        solver.apply_update()
        results[f"iteration {i}"] = solver.iter
        results.update(prefixed(f"{i}: ", parameters(solver.net)))
        for name, blobs in solver.net.params.items():
            for j, blob in enumerate(blobs):
                results[f"{i}: update {name}[{j}]"] = blob.diff.copy()
    results["lr at last"] = solver.lr
    return results


def stored_gradients(args, arrays):
    """What snapshot_diff writes beside the parameters."""
    solver = make_solver(args)
    train(solver, 2, 100)
    solver.snapshot()
    results = {}
    if os.path.exists("s_iter_2.caffemodel.h5"):
        import h5py

        with h5py.File("s_iter_2.caffemodel.h5", "r") as file:
            results["groups"] = sorted(file)
            for name in sorted(file.get("diff", [])):
                for i in sorted(file["diff"][name]):
                    results[f"diff {name}[{i}]"] = np.array(file["diff"][name][i])
        return results
    model = caffe_pb2.NetParameter()
    with open("s_iter_2.caffemodel", "rb") as file:
        model.ParseFromString(file.read())
    for one in model.layer:
        for i, blob in enumerate(one.blobs):
            results[f"diff {one.name}[{i}]"] = np.array(blob.diff, np.float32)
    return results


def state_arrays(path):
    """A solverstate's numbers, whichever format it is in."""
    if path.endswith(".h5"):
        import h5py

        def whole(dataset):
            return int(np.array(dataset).reshape(-1)[0])

        with h5py.File(path, "r") as file:
            found = {"iter": whole(file["iter"]), "step": whole(file["current_step"])}
            for i in range(len(file["history"])):
                found[f"history {i}"] = np.array(file["history"][str(i)])
        return found
    state = caffe_pb2.SolverState()
    with open(path, "rb") as file:
        state.ParseFromString(file.read())
    found = {"iter": state.iter, "step": state.current_step}
    for i, blob in enumerate(state.history):
        found[f"history {i}"] = np.array(blob.data, np.float32).reshape(list(blob.shape.dim))
    return found


def state_name(args, prefix="s"):
    suffix = ".h5" if any("HDF5" in line for line in args["solver"]) else ""
    return f"{prefix}_iter_{args['steps']}.solverstate{suffix}"


def train_and_snapshot(args, arrays):
    """Train, snapshot into args["folder"], train on."""
    solver = make_solver(args)
    train(solver, args["steps"], 100)
    solver.snapshot()
    results = prefixed("at the snapshot: ", parameters(solver.net))
    results.update(prefixed("state: ", state_arrays(state_name(args))))
    results.update(train(solver, args["steps"], 100, args["steps"]))
    results.update(prefixed("after: ", parameters(solver.net)))
    results["files"] = sorted(f for f in os.listdir(".") if f.startswith("s_iter"))
    for name in results["files"]:
        os.rename(name, os.path.join(args["folder"], name))
    return results


def restored_solver(args, prefix="s"):
    """A solver with other weights than the run's, restored from the state in the folder."""
    os.chdir(args["folder"])  # the state names its caffemodel relative to where it was written
    more = [f'snapshot_prefix: "{prefix}"']
    solver = make_solver(dict(args, seed=77, solver=args["solver"] + more))
    solver.restore(state_name(args))
    return solver


def restore_and_train(args, arrays):
    """Restore the snapshot in args["folder"] and train on."""
    solver = restored_solver(args)
    results = prefixed("at the snapshot: ", parameters(solver.net))
    results["iteration"] = solver.iter
    results.update(train(solver, args["steps"], 100, args["steps"]))
    results.update(prefixed("after: ", parameters(solver.net)))
    return results


def restore_and_snapshot(args, arrays):
    """Restore the snapshot in args["folder"], write it again, and read that."""
    solver = restored_solver(args, "again")
    solver.snapshot()
    return prefixed("state: ", state_arrays(state_name(args, "again")))


def save_weights(args, arrays):
    """Write the net's random weights to args["folder"] in both formats; return them."""
    net = make_net(args)
    fill_params(net, 4, args.get("param_scale", 0.5))
    net.save(os.path.join(args["folder"], "w.caffemodel"))
    if hasattr(net, "save_hdf5"):
        net.save_hdf5(os.path.join(args["folder"], "w.caffemodel.h5"))
    return parameters(net)


def load_weights(args, arrays):
    """Read weights from args["weights_file"], by whichever call its format needs."""
    net = make_net(args)
    if args.get("load_hdf5"):
        net.load_hdf5(args["weights_file"])
    else:
        net.copy_from(args["weights_file"])
    return parameters(net)
