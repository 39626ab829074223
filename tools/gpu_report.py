"""What a GPU does with this toolkit: right, fast, in how much memory, learning (docs/gpu.md).

    make gpu-report               or: python -m tools.gpu_report [--minutes 8] [--out docs]
    python -m tools.gpu_report --cpu --shrink 8 --minutes 3      a dry run, into runs/gpu-report
    python -m tools.gpu_report --pack .gpu-pack                  what to carry to such a machine

Writes gpu-report.md, gpu-report.json, gpu-report.log and pictures into --out, each result the
moment it is there: what was finished stays, whatever comes. Needs no installation of this
toolkit, no network, and of the checkout only that it can be read.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT), str(ROOT / "engine"), str(ROOT / "data_layers")]

from tools.common.arguments import Parser  # noqa: E402
from tools.common.cli import Failure, UserError, error_line, run, warn  # noqa: E402
from tools.common.files import check_target  # noqa: E402
from tools.gpu.runner import STAGES, WRITTEN, Runner, Settings  # noqa: E402

NEEDED = {
    "torch": "torch",
    "numpy": "numpy",
    "scipy": "scipy",
    "PIL": "pillow",
    "google.protobuf": "protobuf",
    "h5py": "h5py",
    "safetensors": "safetensors",
    "matplotlib": "matplotlib",
}
"""{module: its package}"""
PACK = ".gpu-pack"


def parser():
    names = ", ".join(stage.name for stage in STAGES)
    p = Parser(prog="gpu_report.py", description="A report on what a GPU does with this toolkit.")
    p.add_argument(
        "--minutes", type=float, default=8, metavar="M", help="how long it may take (default: 8)"
    )
    p.add_argument(
        "--out", metavar="DIR", help="report's folder (default: docs; dry runs: runs/gpu-report)"
    )
    group = p.add_mutually_exclusive_group()
    group.add_argument("--gpu", type=int, metavar="N", help="CUDA GPU (default: 0)")
    group.add_argument("--cpu", action="store_true", help="dry run on the CPU")
    p.add_argument("--shrink", type=int, default=1, metavar="N",
                   help="divide the nets' channels by N: a dry run")  # fmt: skip
    p.add_argument(
        "--data", metavar="DIR", help=f"the pack's folder (default: {PACK}, if it exists)"
    )
    p.add_argument("--stages", metavar="A,B", help=f"some of {names} (default: all)")
    p.add_argument("--pack", metavar="DIR", help="make the pack in DIR, and nothing else")
    return p


def missing(needed):
    """The packages of those modules that are not installed."""
    return [package for module, package in needed.items() if not _is_there(module)]


def _is_there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # what is above it
        return False


def chosen(text):
    """The Stages in `a,b`, in their own order. Raises UserError."""
    known = {stage.name: stage for stage in STAGES}
    names = list(known) if text is None else [n.strip() for n in text.split(",") if n.strip()]
    for name in names:
        if name not in known:
            raise UserError(f"--stages {name}: not one of {', '.join(known)}")
    if not names:
        raise UserError(f"--stages: names none; choose from {', '.join(known)}")
    return [stage for name, stage in known.items() if name in names]


def pack_folder(text):
    """The absolute path of the pack, or None where none is given and none is there."""
    if text is None:
        return str(ROOT / PACK) if (ROOT / PACK).is_dir() else None
    if not os.path.isdir(text):
        raise UserError(f"--data {text}: no such folder; --pack {PACK} makes it")
    return os.path.abspath(text)


def main(argv):
    args = parser().parse_args(argv)
    if not 0.2 <= args.minutes <= 24 * 60:
        raise UserError(f"--minutes {args.minutes:g}: must be from 0.2 to 1440")
    if args.shrink < 1:
        raise UserError(f"--shrink {args.shrink}: must be 1 or more")
    if absent := missing(NEEDED):
        raise UserError(
            f"{sys.executable} lacks {', '.join(absent)}; install them "
            f"(pip install {' '.join(absent)}), or choose another Python: "
            "make gpu-report PYTHON=…"
        )
    if args.pack is not None:
        from tools.gpu.pack import pack

        pack(args.pack)
        return 0
    dry = args.cpu or args.shrink > 1
    out = args.out or str(ROOT / ("runs/gpu-report" if dry else "docs"))
    stages, data = chosen(args.stages), pack_folder(args.data)
    for name, kind in WRITTEN.items():
        check_target(os.path.join(out, name), kind)
    if "training" in (stage.name for stage in stages):
        if data is None:
            warn(f"no pack ({PACK}): the training takes synthetic pictures")
        else:
            from tools.gpu.pack import check

            check(data)
    settings = Settings(
        out=os.path.abspath(out),
        minutes=args.minutes,
        gpu=None if args.cpu else args.gpu or 0,
        shrink=args.shrink,
        data=data,
        stages=stages,
        command=shlex.join(["python", "-m", "tools.gpu_report", *argv]),
    )
    runner = Runner(settings)
    try:
        code = runner.run()
    except OSError as error:
        raise Failure(f"{error_line(error)}; make room, or choose another --out") from None
    if runner.begun and not runner.quiet:
        with contextlib.suppress(BrokenPipeError):
            print(os.path.join(out, "gpu-report.md"), flush=True)
    return code


if __name__ == "__main__":
    run(main)
