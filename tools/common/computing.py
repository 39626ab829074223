"""How the engine computes, where a user chooses: --precision, --autotune and, in training,
--deterministic and --gradients."""

from __future__ import annotations

from tools.common.cli import UserError


def add_arguments(parser, training=False):
    """Add `--precision NAME` and `--autotune`, and for training `--deterministic` and `--gradients
    NAME`."""
    parser.add_argument(
        "--precision",
        metavar="NAME",
        help="how a GPU multiplies: float32 (default, as Caffe), or tf32 or bfloat16: faster, "
        "less exact",
    )
    parser.add_argument(
        "--autotune",
        action="store_true",
        help="on a GPU, try cuDNN's algorithms at each new size of picture and keep the fastest",
    )
    if training:
        parser.add_argument(
            "--deterministic",
            action="store_true",
            help="compute the same bits each time on a GPU, so that a resumed run has the numbers "
            "of one that was never stopped (slower)",
        )
        parser.add_argument(
            "--gradients",
            metavar="NAME",
            help="how gradients go between several processes: float32 (default), or bfloat16: half "
            "the bytes, less exact",
        )


def choose(args):
    """Tell the engine, before anything is built. UserError where another Caffe runs; the engine's
    own error (exit code 2) for what it does not have."""
    import caffe

    chosen = words(args)
    if not chosen:
        return
    deterministic = getattr(args, "deterministic", False)
    if args.autotune and deterministic:
        raise UserError("--autotune: which algorithm is fastest is chance; or --deterministic")
    engine = engine_for(chosen[0])
    if args.precision is not None:
        engine.set_precision(args.precision)
    if hasattr(args, "deterministic"):
        caffe.engine.set_deterministic(deterministic)
    if args.autotune:
        engine.set_autotuning(True)
    if getattr(args, "gradients", None) is not None:
        engine.set_gradients(args.gradients)


def engine_for(option):
    """`caffe.engine`; UserError, which names `option`, where another Caffe runs."""
    import caffe

    engine = getattr(caffe, "engine", None)
    if engine is None:
        raise UserError(
            f"{option}: works with this toolkit's engine only; leave it out under BVLC Caffe"
        )
    return engine


def words(args):
    """The same choices as arguments of a command."""
    chosen = [] if args.precision is None else ["--precision", args.precision]
    chosen += ["--autotune"] if args.autotune else []
    if getattr(args, "gradients", None) is not None:
        chosen += ["--gradients", args.gradients]
    return chosen + (["--deterministic"] if getattr(args, "deterministic", False) else [])
