"""How the engine computes where a user chooses: --precision and --deterministic on a GPU,
--gradients between processes."""

from __future__ import annotations

from tools.common.cli import UserError


def add_arguments(parser):
    """Add `--precision NAME`, `--deterministic` and `--gradients NAME`."""
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
    parser.add_argument(
        "--gradients",
        metavar="NAME",
        help="how gradients go between several processes: float32 (default), or bfloat16: half the "
        "bytes, less exact",
    )


def choose(args):
    """Tell the engine, before anything is built. UserError where another Caffe runs; the engine's
    own error (exit code 2) for what it does not have."""
    import caffe

    given = words(args)
    if not given:
        return
    engine = getattr(caffe, "engine", None)
    if engine is None:
        raise UserError(
            f"{given[0]}: works with this toolkit's engine only; leave it out under BVLC Caffe"
        )
    if args.precision is not None:
        engine.set_precision(args.precision)
    if args.gradients is not None:
        engine.set_gradients(args.gradients)
    engine.set_deterministic(args.deterministic)


def words(args):
    """The same choices as arguments of a command."""
    chosen = [] if args.precision is None else ["--precision", args.precision]
    chosen += [] if args.gradients is None else ["--gradients", args.gradients]
    return chosen + (["--deterministic"] if args.deterministic else [])
