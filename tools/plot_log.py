"""Plot the loss curve of a training log (Caffe's own lines), with the learning rate.

python tools/plot_log.py train.log [more.log …] --out loss.png
"""

from __future__ import annotations

import io
import os

from prototxt.files import wrong_kind
from prototxt.opening import LARGEST_LIST, open_regular
from tools.common import plots
from tools.common.arguments import Parser
from tools.common.cli import UserError, run
from tools.common.files import check_target, write
from tools.common.inputs import check_input
from tools.common.score_tables import distinct
from tools.common.training_log import LOSS, RATE
from tools.common.written import PICTURE, PLOT_MARK


def read_log(path):
    """({iteration: loss}, {iteration: learning rate}) of a log, in the order of the
    iterations; a later line replaces an earlier one, so that a resumed run's log reads as one run.
    Raises UserError."""
    losses, rates = {}, {}
    try:
        with open_regular(path, LARGEST_LIST) as file:
            for line in io.TextIOWrapper(file, "utf-8", "replace"):
                for pattern, found in ((LOSS, losses), (RATE, rates)):
                    match = pattern.search(line)
                    if match:
                        found[int(match.group(1))] = _number(match.group(2))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not losses:
        wrong = wrong_kind(path, "a training log", "text")
        raise UserError(
            f"{path}: {wrong or 'no line `Iteration N, loss = …`; is it a training log?'}"
        )
    return tuple({at: found[at] for at in sorted(found)} for found in (losses, rates))


def _number(text):
    """NaN also for what other Caffes print in its place, as `-1.#IND`."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def plot(paths, out, title=""):
    """Write the loss curves of `paths` as the PNG `out`."""
    pyplot = plots.pyplot()

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    right = axes.twinx()
    for path, name in zip(paths, distinct(paths)):
        losses, rates = read_log(path)
        line = axes.plot(list(losses), list(losses.values()), label=f"loss, {name}")[0]
        right.plot(list(rates), list(rates.values()), ":", color=line.get_color(), alpha=0.6)
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss (running mean)")
    axes.set_ylim(bottom=0)
    right.set_ylabel("learning rate (dotted)")
    right.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    if title:
        axes.set_title(title)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=120, format="png", metadata=PLOT_MARK)
    pyplot.close(figure)
    write(out, stream.getvalue(), PICTURE)


def main(argv):
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("log", nargs="+", metavar="LOG", help="what solve.py --log wrote")
    parser.add_argument("--out", required=True, metavar="PNG", help="the picture to write")
    parser.add_argument("--title", default="", help="written above the curves")
    args = parser.parse_args(argv)
    for path in args.log:
        check_input(path, "text")
    if any(os.path.realpath(path) == os.path.realpath(args.out) for path in args.log):
        raise UserError(f"--out {args.out}: is one of the logs; name a PNG to write")
    check_target(args.out, PICTURE)
    plot(args.log, args.out, args.title)
    print(args.out)
    return 0


if __name__ == "__main__":
    run(main)
