"""The receipt of scores: what they came about with, and scoring again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from prototxt.opening import read_regular
from tools.common import files as common_files
from tools.common.cli import Failure, device_words
from tools.common.computing import words
from tools.common.nets import data_layer
from tools.common.written import LONGEST, json_of
from tools.receipts import compare, data as read_data, facts

SCORE = Path(__file__).resolve().parents[1] / "score.py"
WRITTEN = json_of("the receipt of scores", "results", "net", "data")


def path_of(scores: str) -> str:
    """The receipt's place, beside the JSON of the scores."""
    return f"{os.path.splitext(scores)[0]}.receipt.json"


def write(args, proto, results) -> None:
    """Write the receipt of what `args`, score.py's, have scored.

    proto: the net's NetParameter; results: [(weights, predictions)], predictions as
    `Collector.predictions`.
    """
    path = path_of(args.json)
    options = ["--layer", args.layer, "--label", args.label, *words(args)]
    options += ["--task", args.task] if args.task else []
    found = {
        "scores": os.path.basename(args.json),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "folder": os.path.relpath(".", os.path.dirname(path) or "."),
        "net": args.net,
        "options": options,
        "files": {args.net: facts.sha256(args.net), **read_data.files_of(proto)},
        "weights": {weights: facts.sha256(weights) for weights, _ in results},
        "toolkit": facts.toolkit(),
        "machine": facts.machine(),
        "data": _data(proto, args.net),
        "results": {weights: predictions for weights, predictions in results},
    }
    common_files.write(path, json.dumps(found, indent=1) + "\n", WRITTEN)


def _data(proto, net_path) -> dict:
    """What the net's data layer reads; {} of one that does not say."""
    layer, params = data_layer(proto, net_path)
    if not hasattr(layer, "open_source"):
        return {}
    return {"data": read_data.of_pictures(layer.open_source(layer.parse(params)))}


def read(path) -> dict | None:
    """The receipt of scores `path`; None for another file."""
    try:
        found = json.loads(read_regular(path, LONGEST))
        places = [found[key] for key in ("results", "weights", "files", "data", "machine")]
        known = all(isinstance(place, dict) for place in places)
        return found if known and isinstance(found["options"], list) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def replay(args, path, then: dict) -> int:
    """Score again as the receipt `path` tells, which holds `then`, and print what differs; the
    exit code."""
    home = os.path.normpath(os.path.join(os.path.dirname(path) or ".", then["folder"]))
    print(f"the scores of {path}, made again:", flush=True)
    with tempfile.TemporaryDirectory(prefix="replay-") as place:
        out = os.path.join(place, "scores.json")
        done = subprocess.run(
            [sys.executable, str(SCORE), "--net", then["net"], "--weights", *then["weights"],
             "--json", out, *then["options"], *device_words(args)],
            cwd=home, stdout=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failure("score.py has not scored; its line says why", done.returncode)
        now = read(path_of(out)) or {}
    inputs = [
        *compare.files("net", then["files"], now["files"]),
        *compare.files("weights", then["weights"], now["weights"]),
        *compare.data(then["data"], now["data"]),
    ]
    around = compare.surroundings(then, now)
    count = sum(map(len, then["results"].values()))
    same = f"the predictions and losses of {count} images"
    return compare.told(inputs, around, _first_difference(then["results"], now["results"]), same)


def _first_difference(then: dict, now: dict) -> str | None:
    for weights, before in then.items():
        after = now.get(weights, [])
        for one, other in zip(before, after):
            if one[0] != other[0]:
                return f"{weights}: image {one[0]} then; {other[0]} now"
            if one[1] != other[1]:
                return f"{weights}: the predicted classes of {one[0]}"
            if one[2] != other[2]:
                return f"{weights}: the loss of {one[0]}: {one[2]} then; {other[2]} now"
        if len(before) != len(after):
            return f"{weights}: {len(before)} images then; {len(after)} now"
    return None
