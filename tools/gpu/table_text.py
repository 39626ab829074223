"""The results of the stage `tables` as Markdown."""

from __future__ import annotations

from tools.benchmark import paper
from tools.common.tables import table
from tools.gpu import row_plan
from tools.gpu.row_plan import ENGINE, MODULE, VGG16

WORDS = (
    "One image, batch size 1, noise, with random weights; milliseconds, and megabytes of 10^6 "
    "bytes. A step is forward, backward and update; each figure is the median of passes that were "
    "waited for, after a few that were not counted; *in a row* is the mean of steps that follow "
    "each other without a wait, as training runs. *Floor*: the multiplications and additions of "
    "the net's convolutions, each counted once, at the card's own rate of matrix products in that "
    "precision; folding does with fewer. The engine is lean, as `solve.py` runs it; the module is "
    "the net as a PyTorch user would write it (`tools/benchmark/torch_side.py`; bfloat16: "
    "autocast). *Allocated* and *reserved* are PyTorch's peaks; *later*: allocated after the first "
    "passes, in which cuDNN may try algorithms; *planned*: what `tools/plan.py --for gpu` says is "
    "allocated, before anything runs; *driver*: what the card holds more than before the "
    "process began (all that it holds, where there is no nvidia-smi), its CUDA context and "
    "libraries included."
)
SIDES = {ENGINE: "engine", MODULE: "PyTorch module"}
ALLOCATED_GOAL = 1500e6  # bytes, of training
FLOOR_GOAL = 1.5  # a step / its floor
PLAIN = {"precision": "float32", "autotuning": False, "folding": True, "recompute": False}


def results_of(results, kind):
    return [result for result in results if result["kind"] == kind]


def find(results, side=ENGINE, net=VGG16, test=False, **changes):
    """The row of a side and net as PLAIN says with `changes`, or None."""
    wanted = {**PLAIN, **changes, "side": side, "net": net, "test": test}
    for row in results_of(results, "row"):
        if all(row[name] == value for name, value in wanted.items()):
            return row
    return None


def floor(results, row):
    """{step, forward: seconds at the rate of products in the row's precision}; None where a figure
    is missing."""
    nets = [found for found in results_of(results, "net") if found["net"] == row["net"]]
    rates = [
        p["rate"] for p in results_of(results, "product") if p["precision"] == row["precision"]
    ]
    if not (nets and rates):
        return None
    return {"step": nets[0]["flop_of_step"] / rates[0], "forward": nets[0]["flop"] / rates[0]}


def over_floor(results, row, what="step", figure="in_a_row"):
    """A row's time / its floor, or None."""
    least = floor(results, row)
    if least is None or what not in row:
        return None
    return row[what][figure] / least[what]


def milliseconds(times, figure="median"):
    return "-" if times is None else f"{1e3 * times[figure]:,.2f}"


def megabytes(peaks, what):
    value = (peaks or {}).get(what)
    return "-" if value is None else f"{value / 1e6:,.0f}"


def ratio(value):
    return "-" if value is None else f"{value:.2f}"


def whole(results):
    """Whether it is the paper's nets at the paper's size that were measured, on a card."""
    nets = results_of(results, "net")
    sized = nets and all(net["shrink"] == 1 and tuple(net["size"]) == (500, 500) for net in nets)
    return bool(sized) and not on_cpu(results)


def on_cpu(results):
    """Whether any row has no figure of a card's memory."""
    return any(row["memory"]["allocated"] is None for row in results_of(results, "row"))


def goals(results):
    rows = []
    row = find(results)
    value = row and row["memory"]["allocated"]
    figure = None if value is None else f"{value / 1e6:,.0f} MB"
    held = value is not None and value <= ALLOCATED_GOAL
    rows.append(["training, allocated", "≤ 1,500 MB", *_verdict(results, figure, held)])
    for words, autotuning in (("", False), (", autotuned", True)):
        row = find(results, autotuning=autotuning)
        value = None if row is None else over_floor(results, row)
        figure = None if value is None else f"{value:.2f}"
        held = value is not None and value <= FLOOR_GOAL
        rows.append([f"step in a row / floor{words}", "≤ 1.5", *_verdict(results, figure, held)])
    return table([f"{VGG16}, float32", "goal", "measured", "goal is"], rows, markdown=True)


def _verdict(results, figure, held):
    if figure is None:
        return ["-", "not measured"]
    if not whole(results):
        return [figure, "not judged: not the whole net on a card"]
    return [figure, "held" if held else "missed"]


def paper_lines(results):
    """A line per net: the paper's figures, and here those of the engine as solve.py runs it."""
    rows = []
    for net in results_of(results, "net"):
        name = net["net"]
        row = [name, *net["fc6"]]
        plain, test = find(results, net=name), find(results, net=name, test=True)
        here = (plain or {}).get("forward_backward")
        row += [f"{paper.SECONDS[name]:g}", "-" if here is None else f"{here['median']:.3f}"]
        parts = zip(paper.MEMORY[name], (plain, test), ("training", "test"))
        for printed, found, part in parts:
            row += [f"{printed:,}", megabytes(net.get("planned"), part)]
            row += [
                megabytes(found and found["memory"], what)
                for what in ("allocated", "reserved", "driver")
            ]
        rows.append(row)
    header = ["net", "fc6", "dilation", "fc6 weights", "forward + backward, s, paper", "here"]
    for words in ("training", "with test net"):
        header += [f"{words}, MB, paper", "planned", "allocated", "reserved", "driver"]
    return table(header, rows, markdown=True)


def times(results):
    rows = []
    for row in results_of(results, "row"):
        least = floor(results, row)
        step = row["step"]
        rows.append([row["net"], SIDES[row["side"]], row_plan.words(row)])
        rows[-1] += [milliseconds(row.get(name)) for name in ("forward", "forward_backward")]
        rows[-1] += [milliseconds(step), milliseconds(step, "in_a_row")]
        rows[-1] += ["-" if least is None else f"{1e3 * least['step']:,.2f}"]
        if row["test"]:  # the test net's pass is not in the floor
            rows[-1][-1] = "-"
        rows[-1] += ["-" if row["test"] else ratio(over_floor(results, row))]
        rows[-1] += [str(step["count"])]
    header = ["net", "of", "configuration", "forward, ms", "forward + backward", "step", "in a row"]
    return table([*header, "floor", "in a row / floor", "passes"], rows, markdown=True, left=3)


def memory(results):
    rows = []
    for row in results_of(results, "row"):
        rows.append([row["net"], SIDES[row["side"]], row_plan.words(row)])
        rows[-1] += [megabytes(row["memory"], "allocated"), megabytes(row["later"], "allocated")]
        rows[-1] += [megabytes(row["memory"], name) for name in ("reserved", "driver")]
        rows[-1] += [megabytes(row.get("inference"), name) for name in ("allocated", "driver")]
    header = [
        "net",
        "of",
        "configuration",
        "training: allocated, MB",
        "later",
        "reserved",
        "driver",
    ]
    header += ["scoring: allocated", "driver"]
    return table(header, rows, markdown=True, left=3)


def products(results):
    rows = [
        [p["precision"], f"{p['size']:,}", f"{p['rate'] / 1e12:,.2f}"]
        for p in results_of(results, "product")
    ]
    return table(["product of matrices", "size", "TFLOP/s"], rows, markdown=True)


def _notes(results):
    """What is to be said of rows that are not there, and of those that are odd."""
    lines = []
    for row in results_of(results, "failed"):
        what = ", ".join(filter(None, [row.get("net"), SIDES.get(row["side"], row["side"])]))
        rest = row_plan.words(row) if "net" in row else row["precision"]
        lines.append(f"- failed: {what}, {rest}: {row['error']}")
    for row in results_of(results, "without"):
        lines.append(
            f"- left out: {', '.join(row['precisions'])}, which this card does not multiply"
        )
    for row in results_of(results, "left out"):
        lines.append(f"- left out, as the time was over: {row['rows']} of {row['of']} rows")
    for row in results_of(results, "row"):
        if row["loss"] != row["loss"] or abs(row["loss"]) == float("inf"):
            lines.append(f"- {row['net']}, {row_plan.words(row)}: the loss is {row['loss']}")
    return lines


def markdown(results):
    """The tables of the results that there are so far."""
    if not results:
        return ""
    parts = [["### Goals"], goals(results)]
    nets = results_of(results, "net")
    if nets:
        height, width = nets[0]["size"]
        size = f"Here: {height}x{width}"
        size += f", channels / {nets[0]['shrink']}" if nets[0]["shrink"] > 1 else ""
        if on_cpu(results):
            size += ", on the CPU, where *driver* is the most that the process held in the row"
        note = f"Paper: 500x500, {paper.CARDS}, Caffe, one figure of time for both Dilated FCN-2s."
        parts += [["### Beside the paper"], [f"{size}. {note}"], paper_lines(results)]
    if results_of(results, "row"):
        parts += [["### Time"], times(results)]
    if results_of(results, "product"):
        parts += [products(results)]
    if results_of(results, "row"):
        parts += [["### Memory"], memory(results)]
    parts += [_notes(results)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def main_figure(results):
    """The summary's figure: a step of the first net, and what its training allocates."""
    row = find(results)
    if row is None:
        return ""
    allocated = megabytes(row["memory"], "allocated")
    held = "" if allocated == "-" else f", {allocated} MB allocated"
    return f"step {milliseconds(row['step'], 'in_a_row')} ms{held}"
