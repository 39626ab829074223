"""A training's receipt and its losses, as files."""

from __future__ import annotations

import json
import os

from prototxt.opening import open_regular, read_regular
from tools.common.written import LONGEST, json_of

RECEIPT, LOSSES = "receipt.json", "losses.jsonl"
REPLAYED = 20
"""Iterations after a snapshot at which the parameters' checksums are kept."""
WRITTEN = json_of("a training's receipt", "parts", "data")


def read(path):
    """The receipt of a training, None where there is none of ours."""
    try:
        found = json.loads(read_regular(path, LONGEST))
        whole = isinstance(found["parts"], list) and isinstance(found["data"], list)
        return found if whole and all(isinstance(p["from"], int) for p in found["parts"]) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def lines(path):
    """The whole lines of a file of losses, as dicts with "iter" and "losses" or "weights"."""
    if not os.path.exists(path):
        return
    with open_regular(path) as file:
        for line in file:
            try:
                found = json.loads(line)
                if isinstance(found["iter"], int):
                    yield found
            except (ValueError, KeyError, TypeError, RecursionError):
                return  # half a line: the training was killed as it wrote it
