"""The bench's chart: how time and memory grow with the image and with the classes."""

from __future__ import annotations

import io

from tools.benchmark.sides import spread
from tools.common import plots
from tools.common.files import write
from tools.common.written import PICTURE, PLOT_MARK

MODES = {"forward": "forward", "step": "training step"}


def points(results, axis, mode, value):
    """(x, y) lists of the engine: 1000 pixels or classes against `value` of a side's figures."""
    found = []
    for result in results:
        if (result["axis"], result["mode"]) == (axis, mode) and "engine" in result["sides"]:
            height, width = result["size"]
            x = height * width / 1000 if axis == "size" else result["classes"]
            found.append((x, value(result["sides"]["engine"])))
    return [list(column) for column in zip(*sorted(found))] or [[], []]


def median_seconds(side):
    return spread(side["seconds"])["median"]


def plot(results, out):
    """Write the chart of the results of `growth` as the PNG `out`."""
    pyplot = plots.pyplot()

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
    values = (
        ("seconds", median_seconds),
        ("peak memory, MB", lambda side: (side["peak"] or 0) / 1e6),
    )
    for row, (words, value) in zip(axes, values):
        for place, axis in zip(row, ("size", "classes")):
            for mode, label in MODES.items():
                place.plot(*points(results, axis, mode, value), marker="o", label=label)
            place.set_xlabel("image, 1000 pixels" if axis == "size" else "classes, 256x256")
            place.set_xlim(left=0)
            place.set_ylabel(words)
            place.set_ylim(bottom=0)
            place.grid(alpha=0.3)
    axes[0][0].legend()
    figure.suptitle(f"{results[0]['net']}, engine")
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png", metadata=PLOT_MARK)
    pyplot.close(figure)
    write(out, stream.getvalue(), PICTURE)
