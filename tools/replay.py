"""Do again what a receipt tells of, and say whether the numbers are the same to the bit.

    python tools/replay.py RUN/receipt.json                # trains 20 iterations again
    python tools/replay.py RUN/receipt.json --from 4000 --iterations 50 [--gpu N|--cpu]
    python tools/replay.py RUN/scores.receipt.json         # scores again

solve.py writes a receipt beside its snapshots, score.py one beside its --json. Nothing is written
into their folders. What differs from then is named: files, data, settings, the toolkit, the
machine. The exit code is 0 where all files, data and settings are what they were, and all numbers
the same.
"""

from __future__ import annotations

import os

from tools.common.arguments import Parser
from tools.common.cli import UserError, add_device_arguments, run
from tools.receipts import files, scoring, training


def parse(argv):
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("receipt", metavar="RECEIPT", help="the file, or a training's folder")
    parser.add_argument(
        "--from",
        dest="begin",
        type=int,
        metavar="N",
        help="of a training: begin with the snapshot of iteration N, or at 0 (default: the newest "
        "with so many iterations after it)",
    )
    parser.add_argument(
        "--iterations",
        type=int,
        metavar="N",
        help=f"of a training: how many are trained again (default: {files.REPLAYED}, after which "
        "the parameters are compared too)",
    )
    add_device_arguments(parser)
    args = parser.parse_args(argv)
    if args.iterations is not None and args.iterations < 1:
        parser.error(f"--iterations {args.iterations}: must be above 0")
    return args


def main(argv):
    args = parse(argv)
    path = args.receipt
    path = os.path.join(path, files.RECEIPT) if os.path.isdir(path) else path
    if not os.path.exists(path):
        raise UserError(f"{path}: is not there; solve.py and score.py --json write receipts")
    scores = scoring.read(path)
    if scores is None:
        args.iterations = args.iterations or files.REPLAYED
        return training.replay(args, path)
    if args.begin is not None or args.iterations is not None:
        raise UserError(f"{path}: is of scores; --from and --iterations are for trainings")
    return scoring.replay(args, path, scores)


if __name__ == "__main__":
    run(main)
