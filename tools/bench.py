"""Measure the engine beside BVLC Caffe, a plain PyTorch module and the machine's ceiling.

    make bench                    or: python tools/bench.py [--out docs]
    python tools/bench.py --quick                                a look: minutes, into runs/bench
    python tools/bench.py --measures forward,step --nets fcn8s-vgg16 --sizes 375x500 --rounds 9
    make bench-gpu                or: python tools/bench.py --gpu 0

Writes performance.md, performance.json and performance.png into --out (performance-gpu.* with
--gpu). The JSON is written after every result: what was measured stays, whatever comes. The
machine should have nothing else to do; what it does hits all sides alike, as they take turns, but
it widens the spread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import tempfile
import time

from tools.benchmark import (
    chart as bench_chart,
    data as bench_data,
    report as bench_report,
    sides as bench_sides,
)
from tools.benchmark.measures import MEASURES, Setup
from tools.benchmark.nets import NETS
from tools.benchmark.worker import SIDES
from tools.common import processor
from tools.common.arguments import Parser
from tools.common.cli import Failure, UserError, processors, run, warn
from tools.common.files import check_target, make_folder, write
from tools.common.written import PICTURE, begins, json_of
from tools.summary import side_lengths

SIZES = "500x500,375x500"
REPORT = begins("a report of bench.py", "# Performance\n", "# Performance on the GPU\n")
FIGURES = json_of("figures of bench.py", "command", "settings", "machine", "results")
BUSY = 0.5  # processes at work
GPU_SIDES = ("engine", "torch", "ceiling")
CPU_MEASURES = [name for name in MEASURES if name != "both"]
"""Unless told. Training with testing beside it is in the paper's table of GPU memory only."""


def parser():
    p = Parser(
        prog="bench.py",
        description="Time and memory of the engine, and of what it is compared with.",
    )
    p.add_argument("--quick", action="store_true", help="one net, one size, two rounds, few points")
    p.add_argument(
        "--rounds", type=int, metavar="N", help="how often each side is measured (default: 5)"
    )
    p.add_argument("--nets", metavar="A,B", help=f"some of {', '.join(NETS)} (default: all)")
    p.add_argument("--sizes", metavar="HxW,HxW", help=f"sizes of the image (default: {SIZES})")
    p.add_argument(
        "--measures",
        metavar="A,B",
        help=f"some of {', '.join(MEASURES)} (default: all; both: on a GPU only)",
    )
    p.add_argument("--sides", metavar="A,B", help=f"some of {', '.join(SIDES)} (default: all)")
    p.add_argument(
        "--threads", type=int, metavar="N", help="threads of each side (default: processors)"
    )
    p.add_argument(
        "--data", metavar="DIR", help="photographs in VOC's layout, for the measure score"
    )
    p.add_argument(
        "--out",
        metavar="DIR",
        help="report's folder (default: docs; --quick, --shrink: runs/bench)",
    )
    p.add_argument("--gpu", type=int, metavar="N", help="measure on CUDA GPU number N")
    p.add_argument("--shrink", type=int, default=1, metavar="N",
                   help="divide the nets' channels by N, to try the bench out")  # fmt: skip
    return p


def chosen(text, known, option, default):
    """The names in `a,b,c`, in the order of `known`. Raises UserError."""
    if text is None:
        return list(default)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UserError(f"{option} {name}: not one of {', '.join(known)}")
    if not names:
        raise UserError(f"{option}: names none; choose from {', '.join(known)}")
    return [name for name in known if name in names]


def sizes_of(text):
    try:
        return [side_lengths(part.strip()) for part in text.split(",")]
    except argparse.ArgumentTypeError as error:
        raise UserError(f"--sizes: {error}") from None


def check_gpu(number):
    """Raise UserError unless PyTorch sees this CUDA GPU."""
    import caffe

    count = caffe.engine.cuda_device_count()
    if not 0 <= number < count:
        seen = f"{count} CUDA GPU{'' if count == 1 else 's'}"
        raise UserError(f"--gpu {number}: there is no such GPU; PyTorch sees {seen} here")
    trouble = caffe.engine.gpu_trouble(number)
    if trouble:
        raise UserError(f"--gpu {number}: {trouble}")


def sides_of(args):
    """({side: what it says of itself}, [lines on the sides that are not measured]).

    Raises UserError where none is left.
    """
    known = SIDES if args.gpu is None else GPU_SIDES
    found, left_out = {}, []
    for side in chosen(args.sides, known, "--sides", known):
        if side == "bvlc" and not bench_sides.bvlc_is_installed():
            left_out.append("BVLC Caffe is not installed; as root: tools/bvlc-caffe install")
            continue
        try:
            with bench_sides.Worker(side, args.threads or processors(), args.gpu) as worker:
                found[side] = worker.call("about")
        except Failure as failure:
            left_out.append(str(failure))
    if not found:
        raise UserError("--sides: none of them can run: " + "; ".join(left_out))
    return found, left_out


def setup_of(args, folder):
    for name in ("rounds", "threads", "shrink"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: must be above 0")
    sizes = sizes_of(args.sizes or SIZES)
    nets = chosen(args.nets, NETS, "--nets", NETS)
    if args.quick:
        sizes = sizes if args.sizes else sizes[:1]
        nets = nets if args.nets else nets[:1]
    return Setup(
        nets=nets,
        sizes=sizes,
        sides=[],
        rounds=args.rounds or (2 if args.quick else 5),
        threads=args.threads or processors(),
        gpu=args.gpu,
        folder=folder,
        shrink=args.shrink,
        product=2048 if args.quick else 4096,
        quick=args.quick,
        data=args.data,
    )


def machine(setup, abouts, load):
    """What was measured on, in words."""
    rows = {"processor": processor.name(), "processors": processors(), "memory": memory_size()}
    rows["system"] = f"{platform.system()} {platform.release()}, {platform.machine()}"
    rows["load before (processes, 1 minute)"] = "-" if load is None else f"{load:.2f}"
    rows["threads of every side"] = setup.threads
    for side, about in abouts.items():
        rows[side] = ", ".join(f"{name} {value}" for name, value in about.items())
    return rows


def _load():
    """The system's load of the last minute; None where it has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def warn_of(load):
    """Warn where others are at work: threads that wait for each other in a loop, as PyTorch's do,
    lose far more by it than BVLC Caffe's."""
    if load is not None and load > BUSY:
        warn(
            f"the load is {load:.2f}: other programs are at work and make the figures worse, "
            "PyTorch's most; wait until they end, or set OMP_WAIT_POLICY=passive"
        )


def memory_size():
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB"
    except (OSError, ValueError, AttributeError):
        return "-"


def save(data, stem):
    """Write what there is so far: the JSON, the report, and the chart of the growth."""
    write(f"{stem}.json", json.dumps(data, indent=1) + "\n", FIGURES)
    growth = [r for r in data["results"] if r["measure"] == "growth" and "engine" in r["sides"]]
    if growth:
        bench_chart.plot(growth, f"{stem}.png")
    chart = os.path.basename(f"{stem}.png") if growth else None
    write(f"{stem}.md", bench_report.markdown(data, chart), REPORT)


def measure(setup, names, data, stem):
    """Run the measures; whether all that was asked for was measured."""
    whole = True
    for name in names:
        before = len(data["results"])
        for result in MEASURES[name](setup):
            data["results"].append(result)
            whole = whole and not result["failed"]
            save(data, stem)
        if len(data["results"]) == before:
            warn(f"{name}: none of the sides it needs is measured; left out")
    return whole


def main(argv):
    args = parser().parse_args(argv)
    default = list(MEASURES) if args.gpu is not None else CPU_MEASURES
    names = chosen(args.measures, MEASURES, "--measures", default)
    out = args.out or (os.path.join("runs", "bench") if args.quick or args.shrink > 1 else "docs")
    stem = os.path.join(out, "performance" if args.gpu is None else "performance-gpu")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        setup = setup_of(args, folder)
        if args.gpu is not None:
            check_gpu(args.gpu)
        if args.data is not None:
            bench_data.first_of(args.data, 1)
        make_folder(out)
        for ending, kind in (("md", REPORT), ("json", FIGURES), ("png", PICTURE)):
            check_target(f"{stem}.{ending}", kind)
        load = _load()  # before this has raised it
        abouts, left_out = sides_of(args)
        setup = setup._replace(sides=list(abouts))
        warn_of(load)
        for line in left_out:
            warn(f"left out: {line}")
        data = {
            "command": shlex.join(["python", "tools/bench.py", *argv]),
            "date": time.strftime("%Y-%m-%d %H:%M"),
            "settings": {k: v for k, v in setup._asdict().items() if k != "folder"},
            "machine": machine(setup, abouts, load),
            "left_out": left_out,
            "results": [],
        }
        whole = measure(setup, names, data, stem)
    print("\n".join(bench_report.goals(data["results"])))
    print(f"{stem}.md")
    return 0 if whole else 1


if __name__ == "__main__":
    run(main)
