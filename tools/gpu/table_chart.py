"""The picture of the stage `tables`: every configuration's training step beside its floor."""

from __future__ import annotations

import io

from tools.common import plots
from tools.common.written import PLOT_MARK
from tools.gpu import row_plan, table_text

COLOURS = {row_plan.ENGINE: "tab:blue", row_plan.MODULE: "tab:orange"}


def bars(results):
    """[(label, side, milliseconds of a step in a row, of its floor or None)], by net, in order."""
    rows = table_text.results_of(results, "row")
    nets = list(dict.fromkeys(row["net"] for row in rows))
    found = []
    for row in sorted(rows, key=lambda row: nets.index(row["net"])):
        least = None if row["test"] else table_text.floor(results, row)
        floor = None if least is None else 1e3 * least["step"]
        label = f"{row['net']}: {row_plan.words(row)}"
        found.append((label, row["side"], 1e3 * row["step"]["in_a_row"], floor))
    return found


def title(results):
    """What was measured, in words."""
    net = next((r for r in results if r["kind"] == "net"), None)
    if net is None:
        return "A training step"
    words = f"A training step at {net['size'][0]}×{net['size'][1]}"
    return words + (f", channels / {net['shrink']}: dry run" if net["shrink"] > 1 else "")


def plot(results):
    """The picture as a PNG's bytes; None where there is no row."""
    drawn = bars(results)
    if not drawn:
        return None
    pyplot = plots.pyplot()
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.26 * len(drawn)), layout="constrained")
    for place, (_, side, step, floor) in enumerate(drawn):
        axes.barh(place, step, 0.7, color=COLOURS[side])
        axes.text(step, place, f" {step:.3g}", va="center", fontsize=7)
        if floor is not None:
            axes.plot([floor, floor], [place - 0.45, place + 0.45], color="black", linewidth=2)
    axes.set_yticks(range(len(drawn)), [bar[0] for bar in drawn], fontsize=7)
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.set_xlim(0, 1.08 * max(max(step, floor or 0.0) for _, _, step, floor in drawn))
    axes.set_xlabel("ms of a training step, in a row")
    axes.set_title(title(results))
    axes.grid(axis="x", alpha=0.3)
    keys = [Patch(color=COLOURS[side], label=table_text.SIDES[side]) for side in COLOURS]
    keys.append(Line2D([], [], color="black", linewidth=2, label="floor"))
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png", metadata=PLOT_MARK)
    pyplot.close(figure)
    return stream.getvalue()
