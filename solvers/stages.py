"""The stages of a recipe: what each goes on from, where it lies, how far it is, how it began."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections import namedtuple

from google.protobuf import text_format

from caffe.proto import caffe_pb2
from prototxt import generate
from prototxt.opening import open_regular, read_regular
from solvers import resume, settings, snapshots
from tools.common.cli import UserError
from tools.common.files import make_folder, write
from tools.common.written import json_of

Stage = namedtuple(
    "Stage", "task net files solver param sources planned early", defaults=[None, None]
)
Stage.__doc__ = """One net to train.

task, net  names
files      {path: text} of its prototxts where they are not the committed ones
solver     the path of its solver.prototxt
param      the SolverParameter in it, with what the command line changes
sources    [(suffix, Stage)] that it goes on from; empty: pretrained VGG weights
planned    the iterations that its solver names
early      --stop-early: it ends when its score has not risen so many times; None: it does not
"""

FACTS = json_of("what train.py records of a stage", "net", "solver", "init")
MAY_CHANGE = ("max_iter", "display", "average_loss", "snapshot", "snapshot_prefix", "test_iter",
              "test_interval", "train_net", "test_net", "solver_mode", "device_id")  # fmt: skip
"""Solver fields that may change within a training: they do not say what is learned."""


def name(stage):
    return f"{stage.task}/{stage.net}"


def final(stage):
    """Where a stage's trained weights lie."""
    prefix, last = stage.param.snapshot_prefix, stage.param.max_iter
    if stage.early is not None:
        last = snapshots.ended(prefix, stage.early) or last
    hdf5 = stage.param.snapshot_format == caffe_pb2.SolverParameter.HDF5
    suffix = ".caffemodel.h5" if hdf5 else ".caffemodel"
    return f"{prefix}_iter_{last}{suffix}"


def stage_file(stage, file):
    """The path of `file` in the stage's folder."""
    return os.path.join(os.path.dirname(stage.param.snapshot_prefix), file)


def done(stage):
    return os.path.isfile(final(stage))


def reached(stage):
    """The iteration of the newest snapshot to go on from, 0 if there is none."""
    return resume.reached(stage.param.snapshot_prefix)


def recipe(task, net, tasks, open_stage):
    """The stages that end in `net` of `task`, each behind those that it goes on from.

    tasks: {name: Task}; open_stage(task, net, sources) makes a Stage.
    """
    made = {}

    def add(task, net):
        if (task.name, net) not in made:
            starts = task.starts.get(net, ())
            sources = [(suffix, add(tasks[other], start)) for other, start, suffix in starts]
            made[task.name, net] = open_stage(task, net, sources)
        return made[task.name, net]

    add(task, net)
    return list(made.values())


def to_train(stages):
    """Those of a recipe's stages that are still to be trained, for the last one's sake."""
    wanted = []

    def want(stage):
        if not done(stage) and stage not in wanted:
            wanted.append(stage)
            for _, source in stage.sources:
                want(source)

    want(stages[-1])
    return [stage for stage in stages if stage in wanted]


def open_stage(task, net, sources, changes=(), toml=None, data=None, early=None):
    """A Stage of the committed nets; with a TOML file, or another folder of all data, of nets that
    are generated into runs/<task>/<net> (`write_nets` writes them)."""
    files = {}
    if toml:
        files = generate.own_files(toml, [net], None, data)
    elif data:
        files = generate.task_files([task.name], [net], "runs", data)
    else:
        solver = f"{generate.NETS_FOLDER}/{task.name}/{net}/solver.prototxt"
    if files:
        solver = next(path for path in files if path.endswith("solver.prototxt"))
        param = text_format.Parse(files[solver], caffe_pb2.SolverParameter())
    elif os.path.isfile(solver):
        param = settings.read_solver(solver)
    else:
        raise UserError(f"{solver}: no such file; run this command in the folder of the checkout")
    planned = param.max_iter
    settings.change(param, solver, changes)
    return Stage(task.name, net, files, solver, param, sources, planned, early)


def write_nets(stage):
    generate.write(stage.files)


@contextlib.contextmanager
def lock(stage):
    """Hold the stage's folder, until the commands that are run meanwhile have ended too."""
    make_folder(os.path.dirname(stage_file(stage, "x")))
    handle = os.open(stage_file(stage, ".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        folder = os.path.dirname(stage_file(stage, "x"))
        raise UserError(
            f"{folder}: another training is running there; stop it, or wait until it is done"
        ) from None
    os.set_inheritable(handle, True)
    try:
        yield
    finally:
        os.close(handle)


def present(stage, init):
    """What the stage's training depends on, as a JSON-able dict.

    init: the words of its make_init.py command. Files that this names are told by their contents.
    """
    net = stage.files.get(stage.param.train_net)
    if net is None:
        net = read_regular(stage.param.train_net).decode()
    solver = caffe_pb2.SolverParameter()
    solver.CopyFrom(stage.param)
    for field in MAY_CHANGE:
        solver.ClearField(field)
    sources = [source for word, source in zip(init, init[1:]) if word == "--from"]
    files = [part for source in sources for part in source.split(":") if os.path.isfile(part)]
    return {
        "net": net,
        "solver": text_format.MessageToString(solver),
        "init": init,
        "files": {path: fingerprint(path) for path in files},
    }


def fingerprint(path):
    digest = hashlib.blake2b(digest_size=16)
    with open_regular(path) as file:
        for part in iter(lambda: file.read(1 << 22), b""):
            digest.update(part)
    return digest.hexdigest()


def recorded(stage):
    """What `record` wrote, or None."""
    try:
        found = json.loads(read_regular(stage_file(stage, "stage.json")))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def record(stage, facts):
    write(stage_file(stage, "stage.json"), json.dumps(facts, indent=1) + "\n", FACTS)


def _tells(line):
    """Whether a line of a prototxt says something of the training: no comment, no net's name."""
    return not line.startswith(("#", "name:"))


def differences(before, now):
    """What differs between two dicts of `present`, in words."""
    found = []
    for part in ("net", "solver"):
        old, new = (str(facts.get(part, "")).splitlines() for facts in (before, now))
        gone = [line.strip() for line in old if line not in new and _tells(line)]
        come = [line.strip() for line in new if line not in old and _tells(line)]
        if gone or come:
            then, today = (lines[0][:90] if lines else "nothing" for lines in (gone, come))
            found.append(f"{part}: `{then}` then, `{today}` now")
    if before.get("init") != now["init"]:
        found.append(f"initial weights: `{' '.join(before.get('init', []))}` then")
    elif before.get("files") != now["files"]:
        changed = [p for p, f in now["files"].items() if before.get("files", {}).get(p) != f]
        found.append(f"{', '.join(changed) or 'a source of weights'} is another file now")
    return "; ".join(found)


def check_unchanged(stage, facts):
    """Raise UserError where the stage has snapshots, and `facts` are not what it was begun with."""
    found = resume.snapshots(stage.param.snapshot_prefix)
    if not found:
        return
    place = os.path.dirname(stage.param.snapshot_prefix)
    before = recorded(stage)
    if before is None and not done(stage):
        raise UserError(
            f"{found[0][1]}: is not from a training by this command; resume from it with "
            f"--accept-changes, or move {place} away"
        )
    changed = differences(before, facts) if before is not None else ""
    if changed:
        raise UserError(
            f"{name(stage)} was begun with other settings ({changed}); use those, or resume with "
            f"--accept-changes, or move {place} away"
        )


def check_not_beyond(stage):
    """Raise UserError where snapshots are beyond the last iteration, and none is at it."""
    if not done(stage) and reached(stage) > stage.param.max_iter:
        raise UserError(
            f"{name(stage)}: has a snapshot of iteration {reached(stage)} already, beyond "
            f"{stage.param.max_iter}; raise --iterations"
        )
