"""How the engine computes on a GPU, where a user chooses: --precision, --deterministic."""

from __future__ import annotations

from tools.common.cli import UserError


def add_arguments(parser):
    """Add `--precision NAME` and `--deterministic`."""
    parser.add_argument(
        "--precision",
        metavar="NAME",
        help="how a GPU multiplies: float32 (default, as Caffe), or tf32 or bfloat16: faster, "
        "less exact",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="compute the same bits each time on a GPU, so that a resumed run has the numbers of "
        "one that was never stopped (slower)",
    )


def choose(args):
    """Tell the engine, before anything is built. UserError where another Caffe runs; the engine's
    own error (exit code 2) for precisions that it does not have."""
    import caffe

    if args.precision is None and not args.deterministic:
        return
    engine = getattr(caffe, "engine", None)
    if engine is None:
        given = "--deterministic" if args.precision is None else "--precision"
        raise UserError(
            f"{given}: works with this toolkit's engine only; leave it out under BVLC Caffe"
        )
    if args.precision is not None:
        engine.set_precision(args.precision)
    engine.set_deterministic(args.deterministic)


def words(args):
    """The same choices as arguments of a command."""
    chosen = [] if args.precision is None else ["--precision", args.precision]
    return chosen + (["--deterministic"] if args.deterministic else [])
