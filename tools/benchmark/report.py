"""The bench's results as Markdown."""

from __future__ import annotations

import textwrap

from tools.benchmark import goals as bench_goals, nets as bench_nets
from tools.benchmark.paper import MEMORY
from tools.benchmark.sides import spread
from tools.common.tables import table

MODES = {"forward": "Forward pass", "step": "Training step", "both": "Training and testing"}
WORDS = {
    "engine": "engine",
    "unfolded": "engine, unfolded",
    "bvlc": "BVLC Caffe",
    "torch": "PyTorch module",
    "ceiling": "product",
}
GPU_MEMORY = ("allocated", "reserved", "driver")


def spread_text(values, form="{:.2f}"):
    """`median (least–most)`, or one value where there is no more; `-` for None."""
    if values is None:
        return "-"
    median, *ends = (form.format(values[key]) for key in ("median", "least", "most"))
    return median if values["least"] == values["most"] else f"{median} ({'–'.join(ends)})"


def seconds(values, unit=1.0):
    """Seconds in `unit`s of a second (0.001: milliseconds)."""
    return spread_text(spread([value / unit for value in values or []]), "{:.3g}")


def megabytes(count):
    return "-" if count is None else f"{count / 1e6:,.0f}"


def where(result):
    return f"{result['net']} {result['size'][0]}x{result['size'][1]}"


def results_of(results, measure):
    return [result for result in results if result["measure"] == measure]


def sides_of(results, leave_out=()):
    """The sides that any of the results has, in their usual order."""
    had = {side for result in results for side in result["sides"]}
    return [side for side in WORDS if side in had and side not in leave_out]


def goals(results):
    rows = []
    for name, values in bench_goals.measured(results).items():
        goal = bench_goals.GOALS[name]
        limit = f"{'≥' if goal.least else '≤'} {goal.limit:g}"
        form = "{:.3f}" if goal.limit < 1 else "{:.2f}"
        rows.append(
            [goal.what, limit, spread_text(values, form), bench_goals.verdict(goal, values)]
        )
    return table(["ratio", "goal", "measured", "goal is"], rows, markdown=True)


def bounds(results):
    """A line per goal that was missed and that something bounds."""
    lines = []
    for name, values in bench_goals.measured(results).items():
        goal = bench_goals.GOALS[name]
        if goal.bound and bench_goals.verdict(goal, values) == "missed":
            words = f"- {goal.what}: {goal.bound}"
            lines += textwrap.wrap(words, 100, subsequent_indent="  ", break_on_hyphens=False)
    return ["What bounds those that were missed:", "", *lines] if lines else []


def times(results):
    """A line per net and size: every side's seconds, and the ratios to the engine's."""
    sides = sides_of(results, ["ceiling"])
    others = [side for side in sides if side != "engine"] if "engine" in sides else []
    rated = any("ceiling" in result["sides"] for result in results)
    rows = []
    for result in results:
        row = [where(result)]
        row += [seconds(result["sides"].get(side, {}).get("seconds")) for side in sides]
        row += [spread_text(bench_goals.of_rounds(result, side, "engine")) for side in others]
        if rated:
            rates = result["sides"].get("ceiling", {}).get("rate", [])
            row.append(spread_text(spread([rate / 1e9 for rate in rates]), "{:.0f}"))
            if result["measure"] == "forward":
                row.append(spread_text(bench_goals.of_ceiling(result)))
        rows.append(row)
    header = ["net", *(f"{WORDS[side]}, s" for side in sides)]
    header += [f"{WORDS[side]} / engine" for side in others]
    if rated:
        header.append("product, GFLOP/s")
        if results[0]["measure"] == "forward":
            header.append("engine / (FLOP / rate)")
    return table(header, rows, markdown=True)


def costs(results):
    """A line per net and size: every side's start until the first pass is done, peak memory."""
    sides = sides_of(results, ["ceiling"])
    gpu = [name for name in GPU_MEMORY if any(name in r["sides"][s] for r in results
                                              for s in r["sides"])]  # fmt: skip
    rows = []
    for result in results:
        found = [result["sides"].get(side, {}) for side in sides]
        row = [where(result), *(f"{one['cold']:.1f}" if "cold" in one else "-" for one in found)]
        for name in ("peak", *gpu):
            row += [megabytes(one.get(name)) for one in found]
        rows.append(row)
    words = [f"{WORDS[side]}, start, s" for side in sides]
    for name in ("peak", *gpu):
        words += [f"{WORDS[side]}, {name}, MB" for side in sides]
    return table(["net", *words], rows, markdown=True)


def loss_differences(results):
    """A line per net: how far the losses of the sides are from the first side's that is there."""
    sides = sides_of(results, ["ceiling"])
    reference = next((side for side in ("bvlc", "torch", "engine") if side in sides), None)
    rows = []
    for result in results:
        losses = {side: _losses(found) for side, found in result["sides"].items()}
        known = losses.get(reference) or []
        row = [where(result), " → ".join(f"{loss:.6g}" for loss in known) or "-"]
        for side in sides:
            if side != reference:
                pairs = list(zip(losses.get(side) or [], known))
                row.append(
                    f"{max(abs(a - b) / abs(b) for a, b in pairs):.1e}" if pairs else "-"
                )  # fmt: skip
        rows.append(row)
    words = [WORDS[side] for side in sides if side != reference]
    return table(["net", f"loss, {WORDS.get(reference, '-')}", *words], rows, markdown=True)


def _losses(found):
    if isinstance(found.get("loss"), float):
        return [found["loss"]]
    first = (found.get("first") or {}).get("loss")
    return [] if first is None else [first, *found.get("loss", [])]


def score_lines(result):
    side = result["sides"]["engine"]
    height, width = result["size"]
    rate = [result["images"] / total for total in side["seconds"]]
    reading = [part / total for part, total in zip(side["reading"], side["seconds"])]
    own = [1 - part / total for part, total in zip(side["forwards"], side["seconds"])]
    beside = bench_goals.beside_forward(side)
    rows = [["images", f"{result['images']} of {height}x{width}, {result['net']}"]]
    rows.append(["images per second", spread_text(spread(rate), "{:.3g}")])
    for what, shares in (
        ("waiting for photographs", reading),
        ("what score.py itself does", own),
        ("both: all beside the forward passes", beside),
    ):
        rows.append([f"share of time, {what}", spread_text(spread(shares), "{:.4f}")])
    return table(["score.py", "measured"], rows, markdown=True)


def growth_table(results, axis):
    points = {}
    for result in results:
        if result["axis"] == axis and "engine" in result["sides"]:
            key = result["size"][0] if axis == "size" else result["classes"]
            points.setdefault(key, {})[result["mode"]] = result["sides"]["engine"]
    rows = []
    for key, modes in sorted(points.items()):
        name = f"{key}x{key}" if axis == "size" else str(key)
        found = [modes.get(mode, {}) for mode in ("forward", "step")]
        rows.append([name, *(seconds(one.get("seconds")) for one in found)])
        rows[-1] += [megabytes(one.get("peak")) for one in found]
    header = [axis, "forward, s", "step, s", "forward, peak MB", "step, peak MB"]
    return table(header, rows, markdown=True)


def paper(results, sides):
    """Tables 1 and 6 of the paper beside what was measured, a line per net and side."""
    memory = (
        "driver" if any("driver" in r["sides"][s] for r in results for s in r["sides"]) else "peak"
    )
    rows = []
    for net, printed in MEMORY.items():
        found = [r for r in results if r["net"] == net and r["measure"] in MODES]
        both = next((r for r in found if r["measure"] == "both"), None)
        if both is None:
            continue
        modes = {r["measure"]: r for r in found if r["size"] == both["size"]}
        for side in sides:
            one = {mode: modes.get(mode, {"sides": {}})["sides"].get(side, {}) for mode in MODES}
            rows.append([net, WORDS[side], *bench_nets.fc6(net)])
            rows[-1] += [seconds(one[mode].get("seconds")) for mode in MODES]
            for mode, megabytes_printed in zip(("step", "both"), printed):
                rows[-1] += [f"{megabytes_printed:,}", megabytes(one[mode].get(memory))]
    header = ["net", "side", "fc6", "dilation", "fc6 weights", "forward, s", "step, s"]
    header += ["step + test, s", "training MB, paper", "here", "with testing MB, paper", "here"]
    return table(header, rows, markdown=True, left=2)


def machine_lines(machine):
    return table(["machine", ""], [[k, str(v)] for k, v in machine.items()], markdown=True)


def markdown(data, chart=None):
    """The whole report: lines. `chart`: file name of the growth's picture, or None."""
    results, gpu = data["results"], data["settings"]["gpu"] is not None
    parts = [["# Performance" + (" on the GPU" if gpu else "")], INTRODUCTION]
    parts += [[f"`{data['command']}`, {data['date']}, {data['settings']['rounds']} rounds."]]
    parts += [machine_lines(data["machine"])]
    for line in data["left_out"]:
        parts.append([f"Left out: {line}."])
    parts += [["## Goals"], GOALS_WORDS, goals(results), bounds(results)]
    for mode in ("forward", "step", "small", "both"):
        of_mode = results_of(results, mode)
        if of_mode and any(result["sides"] for result in of_mode):
            title = {"small": "Training step on a small image"}.get(mode) or MODES[mode]
            parts += [[f"## {title}"], times(of_mode), costs(of_mode)]
            if mode == "forward":
                parts += [LOSS_WORDS, loss_differences(of_mode)]
    if results_of(results, "both"):
        sides = sides_of(results_of(results, "both"))
        parts += [["## The paper's tables 1 and 6"], PAPER_WORDS, paper(results, sides)]
    if results_of(results, "agreement"):
        parts += [
            ["## Agreement"],
            AGREEMENT_WORDS,
            loss_differences(results_of(results, "agreement")),
        ]
    parts += _single(results)
    if results_of(results, "growth"):
        parts += [["## Growth"], GROWTH_WORDS]
        parts += [growth_table(results_of(results, "growth"), axis) for axis in ("size", "classes")]
        parts += [[f"![Growth]({chart})"]] if chart else []
    broken = [(r, side, why) for r in results for side, why in r["failed"].items()]
    if broken:
        lines = [f"- {r['measure']}, {where(r)}: {why}" for r, _, why in broken]
        parts += [["## What failed"], lines]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _single(results):
    """The parts with one small table each."""
    parts = []
    for measure, title, unit, words in (
        ("load", "Loading the weights", 1.0, "s"),
        ("overhead", "Overhead: forward and backward of 20 layers on 1x4x8x8 blobs", 1e-3, "ms"),
    ):
        found = results_of(results, measure)
        sides = sides_of(found)
        rows = [
            [r["net"], *(seconds(r["sides"].get(s, {}).get("seconds"), unit) for s in sides)]
            for r in found
        ]
        if sides:
            header = ["net", *(f"{WORDS[side]}, {words}" for side in sides)]
            parts += [[f"## {title}"], table(header, rows, markdown=True)]
    for result in results_of(results, "score"):
        if "engine" in result["sides"]:
            parts += [["## Scoring"], score_lines(result)]
    return parts


GROWTH_WORDS = (
    "What the weights and the pad of 100 pixels cost is there at any size. The rest grows with the",
    "pixels, and with the classes, whose scores are as large as the padded image; peaks grow by",
    "steps, with the largest blocks and the holes that the heap has between them.",
)
INTRODUCTION = (
    "Written by `tools/bench.py`. Every side runs in a process of its own, and one pass of each is",
    "taken in turn, so that what else the machine does hits all alike. All have the same weights,",
    "image and number of threads. Figures are the median of the rounds (least–most); ratios are",
    "taken round by round.",
    "",
    "- engine: as `solve.py` and `score.py` run it. unfolded: the same with folding switched off.",
    "- PyTorch module: the net as a PyTorch user would write it (`tools/benchmark/torch_side.py`).",
    "- product: a float32 matrix product with PyTorch. FLOP / rate: the time that the net's",
    "  convolutions, each multiplication and addition counted once, would take at that rate;",
    "  folding and Winograd's filtering do with fewer.",
    "- start: from the start of the process to the end of its first pass. peak: the most memory",
    "  that the process has had (VmHWM); forward and training have processes of their own. Both",
    "  are of one process: from one to the next, peaks of training differ by up to 15 %.",
)
GOALS_WORDS = (
    f"{bench_goals.NET}, {bench_goals.SIZE[0]}x{bench_goals.SIZE[1]} where nothing else is said.",
    "The median decides.",
)
LOSS_WORDS = ("The loss of the scores, and how far the other sides' are from it, relatively:",)
AGREEMENT_WORDS = (
    "Losses of four training steps without dropout, at a rate that moves them, and the largest",
    "relative difference of the other sides' from them:",
)
PAPER_WORDS = (
    "Paper: NVIDIA GTX 1060 and 1070, Caffe; its table 1 gives 0.5 s for FCN-8s and 0.2 s for",
    "Dilated FCN-2s, forward and backward. Here: memory on the GPU as its driver sees it, or the",
    "process's peak on the CPU.",
)
