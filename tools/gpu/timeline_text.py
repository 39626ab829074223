"""The results of the stage `timeline` as Markdown."""

from __future__ import annotations

from tools.common.tables import table
from tools.gpu.layer_clock import PHASES

WORDS = (
    "One training iteration of Dilated FCN-2s VGG-16, batch size 1. *In a row*: one of several "
    "that follow each other without a wait, as training runs. *Host*: until Python has launched "
    "all of it. *GPU works*: the time in which a kernel or a copy ran, as PyTorch's profiler saw "
    "it. *GPU waits*: what is left of an iteration in a row; where the host takes longer than the "
    "GPU works, the GPU must wait for it. By layer, host and GPU time are between marks (CUDA "
    "events) around the layer's part; *waits* there is the GPU's time between the marks less that "
    "in which it worked; *ahead* says how long after the host the GPU came to the layer's forward "
    "pass, or where it has none its first part: near 0 it had nothing else to do. In the picture "
    "the upper lane of a layer is the host, the lower one the GPU; its waits are red, and drawn at "
    "the beginning of the layer's part, as only their sum in it is known."
)
SHOWN = 0.003  # share of all layers' time below which a layer is summed up with others


def milliseconds(value):
    return "-" if value is None else f"{1e3 * value:,.2f}"


def waits(iteration):
    """Seconds of an iteration in a row in which the GPU does nothing; None where not known."""
    busy = iteration.get("busy")
    return None if busy is None else max(0.0, iteration["in_a_row"] - busy)


def _way(result):
    parts = [result["precision"]] + ["autotuned"] * result["autotuning"]
    return ", ".join(parts + ["unfolded"] * (not result["folding"]))


def iterations(results):
    rows = []
    for result in results:
        waiting = waits(result)
        share = "-" if waiting is None else f"{100 * waiting / result['in_a_row']:.0f} %"
        row = [_way(result), milliseconds(result["in_a_row"]), milliseconds(result["host"])]
        row += [milliseconds(result.get("busy")), milliseconds(waiting), share]
        rows.append([*row, str(result.get("launches", "-")), str(result["count"])])
    header = ["ms", "in a row", "host", "GPU works", "GPU waits", "share", "kernels and copies"]
    return table([*header, "iterations"], rows, markdown=True)


def by_layer(layers):
    """{layer: {phase: its dict}}, in the order of the first parts."""
    found = {}
    for part in layers:
        found.setdefault(part["layer"], {})[part["phase"]] = part
    return found


def weight(part):
    """Seconds that a part takes on the host or the GPU, whichever is more."""
    return max(part["host"], part["device"] or 0.0)


def layer_table(layers):
    """A line per layer; those that take next to nothing are one line, at the end."""
    total = sum(weight(part) for part in layers)
    large, rest = {}, []
    for name, parts in by_layer(layers).items():
        if sum(map(weight, parts.values())) >= SHOWN * total:
            large[name] = parts
        else:
            rest.append(parts)
    rows = [_line(name, [parts]) for name, parts in large.items()]
    rows += [_line(f"{len(rest)} others", rest)] if rest else []
    rows.append(_line("all", [*large.values(), *rest]))
    header = ["layer"]
    on_gpu = any(part["device"] is not None for part in layers)
    for phase in PHASES:
        header += [f"{phase}: host, ms", "GPU"] if on_gpu else [f"{phase}, ms"]
    header += ["waits", "ahead", "kernels and copies"] if on_gpu else []
    return table(header, [row[: len(header)] for row in rows], markdown=True)


def _line(name, layers):
    """The cells of one or several layers' parts."""
    every = [part for parts in layers for part in parts.values()]
    on_gpu = any(part["device"] is not None for part in every)
    cells = [name]
    for phase in PHASES:
        parts = [parts[phase] for parts in layers if phase in parts]
        cells += [_sum(parts, "host")] + ([_sum(parts, "device")] if on_gpu else [])
    traced = any(part["busy"] is not None for part in every)
    gaps = sum(gap(part) or 0.0 for part in every)
    launches = sum(part["launches"] or 0 for part in every)
    ahead = every[0]["ahead"] if len(layers) == 1 else None
    cells += [milliseconds(gaps) if traced else "-", milliseconds(ahead)]
    return [*cells, str(launches) if traced else "-"]


def _sum(parts, what):
    known = [part[what] for part in parts if part[what] is not None]
    return milliseconds(sum(known)) if known else "-"


def gap(part):
    """Seconds between a part's marks in which the GPU did nothing; None where not known."""
    if part["device"] is None or part["busy"] is None:
        return None
    return max(0.0, part["device"] - part["busy"])


def _answer(result):
    """Whether the GPU ever waits, in words."""
    waiting = waits(result)
    if not result["gpu"]:
        return "On the CPU the host does all itself: nothing here says whether a GPU would wait."
    if waiting is None:
        return f"The profiler saw no kernels ({result['problem'] or 'it gave none'})."
    share = 100 * waiting / result["in_a_row"]
    return (
        f"In {_way(result)} the GPU works {milliseconds(result['busy'])} ms of the "
        f"{milliseconds(result['in_a_row'])} ms of an iteration and waits "
        f"{milliseconds(waiting)} ms ({share:.0f} %)."
    )


def markdown(results):
    """The tables of the results that there are so far."""
    found = [result for result in results if result["kind"] == "iteration"]
    if not found:
        return ""
    first = found[0]
    size = f"{first['size'][0]}x{first['size'][1]}"
    size += f", channels / {first['shrink']}" if first["shrink"] > 1 else ""
    parts = [[f"{first['net']} {size}. {_answer(first)}"], iterations(found)]
    layers = next((result for result in results if result["kind"] == "layers"), None)
    if layers is not None:
        parts += [[f"By layer, {_way(layers)}:"], layer_table(layers["layers"])]
    parts += [[f"Left out: {r['why']}."] for r in results if r["kind"] == "without"]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def main_figure(results):
    """The summary's figure: how much of an iteration the GPU waits."""
    for result in results:
        if result["kind"] == "iteration":
            waiting = waits(result)
            if waiting is None:
                return f"iteration {milliseconds(result['in_a_row'])} ms"
            return f"GPU waits {100 * waiting / result['in_a_row']:.0f} % of an iteration"
    return ""
