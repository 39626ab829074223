"""Charts of scores: trimap mean IU over the widths, accuracy over confidence."""

from __future__ import annotations

import io

from tools.common import plots
from tools.common.files import write
from tools.common.written import PICTURE, PLOT_MARK

MARKERS = "osD^vP"


def draw_trimaps(path: str, reports: list[dict], names: list[str]) -> None:
    """Write the PNG `path`: a line for each report that has boundary scores."""

    def fill(axes):
        shown = [(one["boundary"], name) for one, name in zip(reports, names) if "boundary" in one]
        for number, (found, name) in enumerate(shown):
            points = [
                (width, 100 * iu)
                for width, iu in zip(found["widths"], found["trimap_mean_iu"])
                if iu is not None
            ]
            _line(axes, points, number, name)
        axes.set_xlabel("width of the trimap, pixels on each side of a boundary")
        axes.set_ylabel("mean IU, percent")
        axes.set_xscale("log")
        ticks = sorted({width for found, _ in shown for width in found["widths"]})
        axes.set_xticks(ticks, [str(width) for width in ticks])
        axes.minorticks_off()

    _draw(path, fill, (8, 4.5))


def draw_reliability(path: str, reports: list[dict], names: list[str]) -> None:
    """Write the PNG `path`: accuracy over confidence, bin by bin, for each report that has it."""

    def fill(axes):
        axes.plot([0, 100], [0, 100], ":", color="grey", label="as often right as it says")
        for number, (report, name) in enumerate(zip(reports, names)):
            if "calibration" not in report:
                continue
            found = report["calibration"]
            points = [
                (100 * one["confidence"], 100 * one["accuracy"])
                for one in found["bins"]
                if one["pixels"]
            ]
            error = "" if found["ece"] is None else f" (error {100 * found['ece']:.2f})"
            _line(axes, points, number, name + error)
        axes.set_xlabel("confidence, percent")
        axes.set_ylabel("accuracy, percent")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)

    _draw(path, fill, (6, 6))


def _line(axes, points, number, name):
    across, up = zip(*points) if points else ((), ())
    marker = MARKERS[number % len(MARKERS)]
    # A `$` would be mathematics to Matplotlib, and a label that begins with `_` is hidden.
    axes.plot(
        across, up, marker=marker, label=" " * name.startswith("_") + name.replace("$", r"\$")
    )


def _draw(path, fill, size):
    pyplot = plots.pyplot()
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    fill(axes)
    axes.grid(alpha=0.3)
    axes.legend()
    stream = io.BytesIO()
    figure.savefig(stream, dpi=120, format="png", metadata=PLOT_MARK)
    pyplot.close(figure)
    write(path, stream.getvalue(), PICTURE)
