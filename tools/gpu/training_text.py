"""What the stage training shows: its tables, the loss curve, the masks."""

from __future__ import annotations

import io
import os

import numpy as np
from PIL import Image

from tools.common import plots
from tools.common.pictures import indexed, panel, png, with_legend
from tools.common.tables import table
from tools.common.written import PLOT_MARK

SHOWN = 8
"""Rows of a net's losses in the report."""
MASK_ROWS = 4
SCORES = (("pixel accuracy", "pixel_accuracy"), ("mean accuracy", "mean_accuracy"),
          ("mean IU", "mean_iu"), ("f.w. IU", "fw_iu"))  # fmt: skip


def percent(value):
    return "—" if value is None else f"{100 * value:.2f}"


def results_of(results, kind, net=None):
    return [r for r in results if r["kind"] == kind and net in (None, r.get("net"))]


def nets_of(results):
    """The nets that results speak of, in order."""
    return list(dict.fromkeys(r["net"] for r in results if "net" in r))


def about(data):
    """What is trained on, in words."""
    what = "CamVid" if data["real"] else "**Synthetic pictures** (no pack was given), not CamVid"
    height, width = data["size"]
    words = f"{what}: {data['train']} frames to train on, {data['val']} scored, at {width}×{height}"
    if data["shrink"] > 1:
        words += f"; the nets' channels are divided by {data['shrink']}"
    start = "HED's trunk, float16" if data["real"] else "a random trunk"
    return words + f". Start: {start}; fc6 and fc7 by msra."


def markdown(results):
    """The stage's Markdown, of any first part of its results."""
    lines = [about(data) for data in results_of(results, "data")]
    if not lines:
        return "Nothing yet."
    nets = nets_of(results)
    if nets:
        lines += ["", *_summary(results, nets)]
    for note in results_of(results, "note"):
        lines += ["", f"{note['net']}: {note['text']}."]
    if results_of(results, "score") or results_of(results, "final"):
        lines += ["", *_scores(results, nets)]
    if results_of(results, "final"):
        lines += ["", *_classes(results)]
    for net in nets:
        losses = results_of(results, "loss", net)
        if losses:
            lines += ["", f"Loss of {net}, {_averaged(losses)}:", ""]
            lines += _losses(losses)
    return "\n".join(lines)


def _summary(results, nets):
    rows = []
    for net in nets:
        speed, losses = results_of(results, "speed", net), results_of(results, "loss", net)
        end = results_of(results, "trained", net)
        reached = end[-1]["iteration"] if end else losses[-1]["iteration"] if losses else 0
        pace = speed[-1] if speed else None
        rows.append([
            net,
            f"{pace['ms']:.1f}" if pace else "—",
            f"{reached:,} of {pace['iterations']:,}" if pace else "—",
            f"{end[-1]['seconds']:.0f}" if end else "—",
            f"{losses[-1]['loss']:.4g}" if losses else "—",
            f"{1000 * pace['score_seconds'] / pace['val']:.1f}" if pace else "—",
        ])  # fmt: skip
    head = ["net", "ms an iteration", "iterations", "seconds", "last loss", "ms a scored frame"]
    return table(head, rows, True)


def _scores(results, nets):
    rows = []
    for net in nets:
        finals = results_of(results, "final", net)
        ends = {one["iteration"] for one in finals}
        on_the_way = [
            one for one in results_of(results, "score", net) if one["iteration"] not in ends
        ]
        for one in on_the_way + finals:
            whole = f"{one['iteration']:,}" + (", at the end" if one["kind"] == "final" else "")
            rows.append([net, whole, *(percent(one[key]) for _, key in SCORES)])
    return table(["val, %", "iteration", *(name for name, _ in SCORES)], rows, True)


def _classes(results):
    finals = results_of(results, "final")
    names = list(finals[0]["iu"])
    rows = [[one["net"], *(percent(one["iu"].get(name)) for name in names)] for one in finals]
    return table(["IU, %", *names], rows, True)


def _averaged(losses):
    """Over how many iterations each loss is a mean, in words."""
    if len(losses) < 2:
        return "as logged"
    return f"each a mean over {losses[-1]['iteration'] - losses[-2]['iteration']} iterations"


def _losses(losses):
    places = np.unique(np.linspace(0, len(losses) - 1, min(SHOWN, len(losses))).round().astype(int))
    rows = [[f"{losses[i]['iteration']:,}", f"{losses[i]['loss']:.4g}", f"{losses[i]['lr']:.3g}"]
            for i in places]  # fmt: skip
    return table(["iteration", "loss", "rate"], rows, True, left=0)


def main_figure(results):
    """The best that was reached, in a few words."""
    words = []
    for net in nets_of(results):
        found = results_of(results, "final", net) or results_of(results, "score", net)
        losses = results_of(results, "loss", net)
        if found:
            words.append(f"{net}: mean IU {percent(found[-1]['mean_iu'])} % after "
                         f"{found[-1]['iteration']:,} iterations")  # fmt: skip
        elif losses:
            words.append(f"{net}: loss {losses[-1]['loss']:.3g} at {losses[-1]['iteration']:,}")
    made_up = any(not data["real"] for data in results_of(results, "data"))
    return "; ".join(words) + (" (synthetic pictures)" if words and made_up else "")


def curve(results):
    """The loss by iteration, and the mean IU on val where it was scored, as a PNG's bytes."""
    pyplot = plots.pyplot()

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    right = axes.twinx()
    for number, net in enumerate(nets_of(results)):
        losses = results_of(results, "loss", net)
        colour = f"C{number}"
        axes.plot([r["iteration"] for r in losses], [r["loss"] for r in losses], color=colour,
                  label=net)  # fmt: skip
        scores = results_of(results, "score", net) + results_of(results, "final", net)
        right.plot([r["iteration"] for r in scores], [100 * (r["mean_iu"] or 0) for r in scores],
                   "o", color=colour, mec="black")  # fmt: skip
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss, mean over the pixels")
    axes.grid(alpha=0.3)
    axes.set_ylim(0, 1.1 * axes.dataLim.y1)
    figure.legend(loc="outside lower center", ncols=2)
    right.set_ylabel("mean IU on val, % (dots)")
    right.set_ylim(0, 100)
    data = results_of(results, "data")[0]
    axes.set_title(("CamVid" if data["real"] else "Synthetic pictures")
                   + ", {1}×{0}".format(*data["size"])
                   + (f", channels / {data['shrink']}" if data["shrink"] > 1 else ""))  # fmt: skip
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png", metadata=PLOT_MARK)
    pyplot.close(figure)
    return stream.getvalue()


def masks(data, folders, names):
    """Photograph, truth and each net's prediction of some val frames, as a PNG's bytes.

    data: the DataSet; folders: {net: folder of its predictions}; names: of the classes.
    """
    ids = [data.val[i] for i in np.linspace(0, len(data.val) - 1, MASK_ROWS).astype(int)]
    height, width = (360, 480) if not data.dry else data.size
    height, width = (height * 2 // 3, width * 2 // 3) if not data.dry else (height, width)
    images, seen = [], set()
    for one in dict.fromkeys(ids):
        with Image.open(data.folder / "JPEGImages" / f"{one}.jpg") as photograph:
            images.append(photograph.convert("RGB").resize((width, height), Image.BILINEAR))
        paths = [data.folder / "SegmentationClass" / f"{one}.png"]
        paths += [os.path.join(folder, f"{one}.png") for folder in folders.values()]
        for path in paths:
            with Image.open(path) as labels:
                small = np.array(labels.resize((width, height), Image.NEAREST))
            seen.update(np.unique(small).tolist())
            images.append(indexed(small).convert("RGB"))
    rows = len(images) // (2 + len(folders))
    captions = ["photograph", "truth", *(_short(net) for net in folders)] * rows
    sheet = panel(images, captions, columns=2 + len(folders))
    return png(with_legend(sheet, names, sorted(seen)), optimize=True)


def _short(net):
    return net.replace("dilated-fcn2s", "Dilated FCN-2s").replace("fcn8s-atonce", "FCN-8s").replace(
        "-vgg16", ""
    )  # fmt: skip
