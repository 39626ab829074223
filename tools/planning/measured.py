"""Plans beside measurements: writes docs/planning.md's table.

    python -m tools.planning.measured [--out docs/planning.md] [--only TASK/NET …]

Each measurement is a process of its own. It needs as much memory as the largest net takes (4 GB),
and about half an hour.
"""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import sys
import tempfile

from prototxt import text
from tools import summary
from tools.benchmark import paper
from tools.common.arguments import Parser
from tools.common.cli import Failure, run, warn
from tools.common.files import write
from tools.common.memory_sizes import program
from tools.common.tables import table
from tools.common.written import ANY
from tools.planning import nets
from tools.planning.figures import default_solver

MODES = {"forward": "inference", "step": "training", "both": "training with its test net"}
LARGE, SMALL = (500, 500), (224, 224)
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def cases():
    """(TASK/NET, size) of each case: the paper's nets as in its table 6, all nets smaller."""
    for net in paper.MEMORY:
        yield f"voc/{net}", LARGE
    for place in sorted(glob.glob(os.path.join(summary.NETS, "*", "*", "train.prototxt"))):
        yield "/".join(place.split(os.sep)[-3:-1]), SMALL


def case_files(folder, name, size, mode):
    """Write the nets of a case, and its solver, for the child. Returns the sized nets."""
    found = nets.find(name)
    train, test, deploy = nets.sized(found, size)
    solver = type(default_solver())()
    solver.CopyFrom(found.solver)
    for field in ("net", "test_net", "test_iter", "test_interval", "snapshot", "random_seed"):
        solver.ClearField(field)
    solver.display, solver.snapshot_after_train = 0, False
    solver.base_lr = 1e-20
    files = {"train": train, "deploy": deploy, "solver": solver}
    solver.train_net = os.path.join(folder, "train.prototxt")
    if mode == "both":
        files["val"] = test
        solver.test_net.append(os.path.join(folder, "val.prototxt"))
        solver.test_iter.append(1)
        solver.test_interval = 10**9
        solver.test_initialization = False
    for file, message in files.items():
        for layer in getattr(message, "layer", ()):
            layer.convolution_param.ClearField("weight_filler") if layer.HasField(
                "convolution_param"
            ) else None
        with open(os.path.join(folder, f"{file}.prototxt"), "w", encoding="utf-8") as out:
            out.write(text.text(message))
    return found.solver, train, test, deploy


def predicted(mode, solver, train, test, deploy, gpu=False):
    """What the engine rehearses."""
    import caffe

    rehearse = caffe.engine.rehearse
    if mode == "forward":
        return rehearse(deploy, gpu=gpu)
    return rehearse(train, solver, test if mode == "both" else None, gpu=gpu)


def measure(name, size, mode):
    """The figures of one case, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        files = case_files(folder, name, size, mode)
        words = [sys.executable, "-m", "tools.planning.child", mode, folder]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"{name} {mode}: {done.stderr.strip().splitlines()[-1:]}")
        found = json.loads(done.stdout.strip().splitlines()[-1])
    made = {"net": name, "size": size, "mode": mode, **found}
    planned = predicted(mode, *files)
    made["predicted"], made["taken"] = planned.peak, planned.taken
    made["gpu"] = predicted(mode, *files, gpu=True).peak
    return made


def rows_of(results):
    for one in results:
        size = "x".join(map(str, one["size"]))
        whole = one["taken"] + one["program"]
        yield [
            one["net"], size, MODES[one["mode"]],
            *(f"{n / 1e6:,.0f}" for n in (one["predicted"], one["tensors"])),
            _off(one["predicted"], one["tensors"]),
            *(f"{n / 1e6:,.0f}" for n in (whole, one["resident"])),
            _off(whole, one["resident"]), f"{one['gpu'] / 1e6:,.0f}", _of_paper(one),
        ]  # fmt: skip


def _off(predicted, measured):
    return f"{100 * (predicted / measured - 1):+.1f} %"


def _of_paper(one):
    known = paper.MEMORY.get(one["net"].split("/")[-1]) if one["size"] == LARGE else None
    place = {"step": 0, "both": 1}.get(one["mode"])
    return "" if known is None or place is None else f"{known[place]:,}"


HEADER = (
    "net", "size", "", "tensors, planned", "measured", "off", "process, planned", "measured",
    "off", "on a GPU, planned", "paper's table 6",
)  # fmt: skip


def save(path, results):
    """Put the table into the text of `path`, between its marks."""
    lines = table(HEADER, rows_of(results), markdown=True, left=3)
    with open(path, encoding="utf-8") as file:
        before = file.read()
    pattern = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.S)
    if not pattern.search(before):
        raise Failure(f"{path}: has no lines {BEGIN.strip()} and {END.strip()}")
    made = pattern.sub(lambda _: BEGIN + "\n" + "\n".join(lines) + "\n\n" + END, before)
    write(path, made, ANY)


def main(argv):
    p = Parser(prog="measured.py", description="Plans beside measurements.")
    p.add_argument("--out", default=os.path.join("docs", "planning.md"), metavar="FILE")
    p.add_argument("--only", nargs="+", metavar="TASK/NET", help="some of the nets")
    args = p.parse_args(argv)
    program()
    results = []
    for name, size in cases():
        if args.only and name not in args.only:
            continue
        for mode in MODES:
            if mode == "both" and size == SMALL:
                continue
            try:
                results.append(measure(name, size, mode))
            except Failure as failure:
                warn(failure)
                continue
            print(" ".join(list(rows_of(results[-1:]))[0]), flush=True)
            save(args.out, results)
    return 0


if __name__ == "__main__":
    run(main)
