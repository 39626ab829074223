"""--recompute and --memory: which blobs a training makes again in its backward pass."""

from __future__ import annotations

from typing import NamedTuple

from tools import summary
from tools.common.cli import UserError
from tools.common.computing import engine_for
from tools.common.memory_sizes import bytes_of, program, shown

AUTO, NONE = "auto", "none"


class Remade(NamedTuple):
    """names: the blobs that are made again; note: a line that says so, or why none are."""

    names: tuple[str, ...]
    note: str | None


def add_arguments(parser):
    """Add `--recompute`, `--memory` and `--largest`."""
    parser.add_argument(
        "--recompute",
        metavar="auto|none|A,B",
        help="give these blobs back after the forward pass and make them again in backward: less "
        "memory, more time, the same numbers (auto: those that save most for least arithmetic)",
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="recompute what it takes to stay within SIZE, e.g. 3GB: of the process on the CPU, "
        "allocated on a GPU; without a way to, nothing is trained",
    )
    parser.add_argument(
        "--largest",
        type=summary.side_lengths,
        metavar="HxW",
        help="the largest picture, which auto and --memory reckon with (default: 500x500)",
    )


def check(args):
    """Raise UserError for options that do not go together or mean nothing, before any work."""
    for option in ("recompute", "memory"):
        if getattr(args, option) is not None:
            engine_for(f"--{option}")
    if args.memory is not None:
        bytes_of(args.memory)
        if args.recompute not in (None, NONE):
            raise UserError("--memory: chooses what is recomputed; leave --recompute out")
    if args.largest is not None and args.memory is None and args.recompute != AUTO:
        raise UserError("--largest: says for which picture; give --memory or --recompute auto too")


def words(args):
    """The same choices as arguments of a command."""
    chosen = []
    for option in ("recompute", "memory"):
        if getattr(args, option) is not None:
            chosen += [f"--{option}", getattr(args, option)]
    return chosen + (["--largest", "{}x{}".format(*args.largest)] if args.largest else [])


def choose(args, solver, net, test, where):
    """Remade, for a solver on the NetParameters `net` and `test` (or None); the device is chosen.

    UserError where --memory cannot be kept to; the engine's own (exit code 2) for a net that
    cannot be built.
    """
    if args.recompute in (None, NONE) and args.memory is None:
        return Remade((), None)
    if args.recompute not in (None, NONE, AUTO):
        names = tuple(name.strip() for name in args.recompute.split(",") if name.strip())
        if not names:
            raise UserError("--recompute: names no blob; write auto, none or blobs, A,B")
        return Remade(names, None)
    beside = program() if on_cpu() else 0
    limit = None if args.memory is None else bytes_of(args.memory) - beside
    sized = [None if one is None else summary.sized(one, args.largest or summary.SIZE, phase)
             for one, phase in ((net, "TRAIN"), (test, "TEST"))]  # fmt: skip
    engine = engine_for("--memory")
    if args.recompute == NONE:
        before = after = engine.rehearse(sized[0], solver, sized[1])
    else:
        before, after = engine.choose_remade(sized[0], solver, sized[1], limit)
    if limit is not None and after.taken > limit:
        raise UserError(f"{where}: {too_little(args, before, after, beside, test is not None)}")
    return Remade(after.remade, _note(args, before, after, beside))


def on_cpu():
    """Whether the engine's mode is CPU."""
    from caffe import engine

    return engine.on_cpu()


def too_little(args, before, after, beside, tested):
    """What to say where `args.memory` does not do."""
    least = f"the least is {shown(after.taken + beside)}, at {after.layer} {after.way}"
    if args.recompute == NONE:
        ways = "leave --recompute none out, or take"
    else:
        least += f" with {len(after.remade)} blobs recomputed" if after.remade else ""
        ways = "take"
    ways += " smaller pictures (--largest HxW, if yours are)"
    ways += " or no test net" if tested else ""
    return f"--memory {args.memory} does not suffice: {least}; {ways}, or give more"


def _note(args, before, after, beside):
    height, width = args.largest or summary.SIZE
    peak = f"{shown(after.taken + beside)} at most with pictures of {height}x{width}"
    if not after.remade:
        return f"nothing is recomputed: {peak}"
    saved = shown(before.taken - after.taken)
    return f"recomputed in backward: {', '.join(after.remade)}: {peak}, {saved} less"
