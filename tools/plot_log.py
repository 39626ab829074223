"""Plot the curves of a training: loss and learning rate, and the scores where there are some.

    python tools/plot_log.py RUN/metrics.jsonl [more …] --out curves.png [--csv metrics.csv]
    python tools/plot_log.py train.log [more.log …] --out loss.png

metrics.jsonl is what solve.py keeps beside its snapshots; a log has Caffe's own lines, and no
scores. --csv writes what is in metrics.jsonl as a table.
"""

from __future__ import annotations

import io
import os

from prototxt.files import wrong_kind
from prototxt.opening import LARGEST_LIST, open_regular
from tools.common import plots, run_metrics
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


def read_curves(path):
    """(losses, rates, lines): of a metrics.jsonl, or of a log, which has no lines. UserError."""
    if not run_metrics.is_metrics(path):
        return (*read_log(path), [])
    lines = run_metrics.read(path)
    if not lines:
        raise UserError(f"{path}: has no whole line yet; a training writes one at each display")
    return *(run_metrics.displayed(lines, key) for key in ("loss", "lr")), lines


def plot(paths, out, title=""):
    """Write the curves of `paths` as the PNG `out`."""
    pyplot = plots.pyplot()
    found = [(name, *read_curves(path)) for path, name in zip(paths, distinct(paths))]
    scored = [(name, lines) for name, _, _, lines in found if run_metrics.scored(lines)]
    rows = 2 if scored else 1
    figure, axes = pyplot.subplots(
        rows, figsize=(8, 4.5 * rows), layout="constrained", squeeze=False, sharex=True
    )
    _losses(axes[0, 0], found)
    if scored:
        _scores(axes[1, 0], scored)
    if title:
        axes[0, 0].set_title(title)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=120, format="png", metadata=PLOT_MARK)
    pyplot.close(figure)
    write(out, stream.getvalue(), PICTURE)


def _losses(axes, found):
    """Losses and learning rates of [(name, losses, rates, lines)]."""
    right = axes.twinx()
    for name, losses, rates, _ in found:
        line = axes.plot(list(losses), list(losses.values()), label=f"loss, {name}")[0]
        right.plot(list(rates), list(rates.values()), ":", color=line.get_color(), alpha=0.6)
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss (running mean)")
    axes.set_ylim(bottom=0)
    right.set_ylabel("learning rate (dotted)")
    right.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")


def _scores(axes, scored):
    """Mean IU of [(name, lines)]; of one training, the IU of each class too."""
    from matplotlib import colormaps

    alone = len(scored) == 1
    if alone:
        axes.set_prop_cycle(color=colormaps["tab20"].colors)
    for name, lines in scored:
        curve = run_metrics.scored(lines)
        if alone:
            for label, ius in run_metrics.classes(lines).items():
                percents = [100 * value for value in ius.values()]
                axes.plot(list(ius), percents, linewidth=1, alpha=0.7, label=label)
        percents = [100 * value for value in curve.values()]
        label, more = ("mean IU", {"color": "black"}) if alone else (f"mean IU, {name}", {})
        axes.plot(list(curve), percents, "o-", linewidth=2.5, label=label, **more)
    axes.set_xlabel("iteration")
    axes.set_ylabel("IU (percent)")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")


def write_csv(path, args):
    """Write the table of the one metrics.jsonl that is given."""
    if len(args.log) != 1 or not run_metrics.is_metrics(args.log[0]):
        raise UserError(f"--csv {path}: is made of one metrics.jsonl; name it alone")
    write(path, run_metrics.as_csv(run_metrics.read(args.log[0])), run_metrics.TABLE)


def main(argv):
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "log", nargs="+", metavar="FILE", help="a metrics.jsonl, or what solve.py --log wrote"
    )
    parser.add_argument("--out", metavar="PNG", help="the picture to write")
    parser.add_argument("--csv", metavar="FILE", help="the table to write")
    parser.add_argument("--title", default="", help="written above the curves")
    args = parser.parse_args(argv)
    if not (args.out or args.csv):
        parser.error("one of --out and --csv is needed")
    for path in args.log:
        check_input(path, "text")
    for option, target, kind in (
        ("--out", args.out, PICTURE),
        ("--csv", args.csv, run_metrics.TABLE),
    ):
        if target is None:
            continue
        if any(os.path.realpath(path) == os.path.realpath(target) for path in args.log):
            raise UserError(f"{option} {target}: is one of the logs; name another file to write")
        check_target(target, kind)
    if args.csv:
        write_csv(args.csv, args)
        print(args.csv)
    if args.out:
        plot(args.log, args.out, args.title)
        print(args.out)
    return 0


if __name__ == "__main__":
    run(main)
