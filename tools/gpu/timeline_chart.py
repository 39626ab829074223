"""The picture of the stage `timeline`: an iteration by layer, host and GPU."""

from __future__ import annotations

import io

from tools.common import plots
from tools.common.written import PLOT_MARK
from tools.gpu.layer_clock import PHASES
from tools.gpu.timeline_text import SHOWN, by_layer, gap, weight

COLOURS = {"forward": "tab:blue", "backward": "tab:orange", "update": "tab:green"}
HOST, WAIT = "0.65", "red"
ALL = "all layers"
LEAST_WIDTH = 0.0008  # of the axis: narrower bars would not be seen


def shown_layers(layers):
    """The names of the layers whose parts are large enough to be seen, in order."""
    total = sum(weight(part) for part in layers)
    grouped = by_layer(layers)
    return [n for n, parts in grouped.items() if sum(map(weight, parts.values())) >= SHOWN * total]


def bars(parts, layers):
    """[(layer, lane, kind, begin, width)], milliseconds since the iteration began: `lane` is host
    or device, `kind` a phase or wait.

    parts    one iteration, as timeline.Iterations.followed gives it
    layers   timeline.layers_of, which knows how long the GPU waited
    """
    zero = parts[0]["host"][0]
    gaps = {(part["phase"], part["layer"]): gap(part) for part in layers}
    found = []
    for part in parts:
        for lane in ("host", "device"):
            if part[lane] is not None:
                begin, end = (1e3 * (moment - zero) for moment in part[lane])
                found.append((part["layer"], lane, part["phase"], begin, end - begin))
        waited = 1e3 * (gaps.get((part["phase"], part["layer"])) or 0.0)
        if part["device"] is not None and waited:
            begin, width = found[-1][3:]
            found.append((part["layer"], "device", "wait", begin, min(waited, width)))
    return found


def plot(parts, layers):
    """The picture as a PNG's bytes; for the arguments see `bars`."""
    pyplot = plots.pyplot()
    from matplotlib.patches import Patch

    names = [ALL, *shown_layers(layers)]
    rows = {name: number for number, name in enumerate(names)}
    drawn = bars(parts, layers)
    on_gpu = any(bar[1] == "device" for bar in drawn)
    end = max(begin + width for *_, begin, width in drawn)
    figure, axes = pyplot.subplots(figsize=(11, 1.6 + 0.24 * len(names)), layout="constrained")
    height = 0.4 if on_gpu else 0.7
    for layer, lane, kind, begin, width in drawn:
        colour = WAIT if kind == "wait" else COLOURS[kind]
        if lane == "host" and on_gpu:
            colour = HOST
        width = max(width, LEAST_WIDTH * end)
        for row in (rows[ALL], rows.get(layer)):
            if row is not None:
                # The y axis points down: the host's lane is above the device's.
                y = row - (0.2 if lane == "host" else -0.2) * on_gpu
                axes.barh(y, width, height, left=begin, color=colour, linewidth=0)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, end)
    axes.set_xlabel("ms since the host began the iteration")
    axes.grid(axis="x", alpha=0.3)
    keys = [Patch(color=COLOURS[phase], label=phase) for phase in PHASES]
    if on_gpu:
        keys += [Patch(color=HOST, label="host"), Patch(color=WAIT, label="GPU waits")]
        waited = sum(gap(part) or 0.0 for part in layers)
        title = f"One iteration, GPU and host; by its marks the GPU waits {1e3 * waited:.2f} ms"
    else:
        title = "One iteration on the CPU: the host's time; there is no GPU"
    axes.set_title(title, fontsize=10)
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png", metadata=PLOT_MARK)
    pyplot.close(figure)
    return stream.getvalue()
