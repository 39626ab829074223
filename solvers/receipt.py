"""What a training came about with, beside its snapshots, so that it can be trained again.

receipt.json   a part for each start and resumption: the command, settings, hashes of files and
               data, the toolkit, the machine
losses.jsonl   the losses of every pass to the last bit; REPLAYED iterations after each snapshot,
               checksums of the parameters

tools/replay.py trains from a snapshot again, and compares.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import zlib

import numpy as np
from google.protobuf import text_format

from solvers.lines import Lines
from tools.common.cli import UserError, warn
from tools.common.files import check_target, write
from tools.common.written import begins
from tools.receipts import data as read_data, facts, files
from tools.receipts.files import LOSSES, RECEIPT, REPLAYED

PATIENCE = 600.0
"""Seconds that the end of a training waits for the hashes of its data."""
HURRY = 5.0
"""The same where a signal has stopped it: what sent the signal may kill it after 30."""
WRITTEN = begins("losses of a training", '{"iter": ')


class Record:
    """Keeps the receipt and the losses of one start or resumption. Nothing that goes wrong with
    them ends a training: a warning says so.

    A context: at its end the receipt is whole.

    param: the SolverParameter in force; part: as `part_of` makes it; net: the net that learns;
    message: its NetParameter.
    """

    def __init__(self, param, part, net, message):
        self.folder = os.path.dirname(param.snapshot_prefix)
        self._every, self._begin = param.snapshot, part["from"]
        self._lines, self._patience = None, PATIENCE
        self._lock = threading.Lock()
        receipt = files.read(self._path(RECEIPT)) or {"parts": [], "data": []}
        self._receipt = {
            "parts": [p for p in receipt["parts"] if p["from"] < part["from"]] + [part],
            "data": receipt["data"],
        }
        self._open_losses(part["from"])
        self._save()
        self._hashing = threading.Thread(target=self._hash, args=(net, message), daemon=True)
        self._hashing.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is None and self._hashing.is_alive():
            self._hashing.join(self._patience)
            if self._hashing.is_alive():
                warn(f"{self._path(RECEIPT)}: is without the hashes of the data (they took longer "
                     "than the training)")  # fmt: skip
        if self._lines is not None:
            self._lines.close()

    def hurry(self):
        """Do not wait long for the hashes of the data at the end."""
        self._patience = HURRY

    def see(self, iteration, found):
        """Keep the losses of a pass; for `losses.watch`."""
        if self._keeps_losses():
            exact = {name: _exact(values) for name, values in found.items()}
            self._lines.add({"iter": iteration, "losses": exact})

    def next_mark(self, iteration):
        """The next iteration before which `mark` is to be called: so many after a snapshot."""
        found = [self._begin + REPLAYED]
        if self._every:
            after = max(iteration - REPLAYED + 1, self._begin)
            found.append(-(-after // self._every) * self._every + REPLAYED)
        return min((at for at in found if at > iteration), default=sys.maxsize)

    def mark(self, solver):
        """Keep the parameters' checksums."""
        if self._keeps_losses():
            self._lines.add({"iter": solver.iter, "weights": checksums(solver.net)})

    def _keeps_losses(self):
        return self._lines is not None and self._lines.open

    def _open_losses(self, begin):
        """Open the losses of this training, without lines of what it trains from now on."""
        path = self._path(LOSSES)
        try:
            check_target(path, WRITTEN)
            kept = [
                line for line in files.lines(path) if line["iter"] < begin + ("weights" in line)
            ]
            self._lines = Lines(path, kept, WRITTEN)
        except (OSError, UserError) as error:
            warn(f"{error}; no losses are kept")

    def _hash(self, net, message):
        try:
            found = read_data.described(net, message)
        except Exception as error:
            warn(f"{self._path(RECEIPT)}: is without the hashes of the data ({error})")
            return
        with self._lock:
            known, part = self._receipt["data"], self._receipt["parts"][-1]
            before = [p["data"] for p in self._receipt["parts"][:-1] if p["data"] is not None]
            if found not in known:
                known.append(found)
            part["data"] = known.index(found)
            if before and before[-1] != part["data"]:
                warn(f"{self._path(RECEIPT)}: the data is not what it was until iteration "
                     f"{part['from']}; tools/replay.py says what differs")  # fmt: skip
        self._save()

    def _save(self):
        with self._lock:
            used = [p["data"] for p in self._receipt["parts"]]
            kept = [d if i in used else None for i, d in enumerate(self._receipt["data"])]
            text = json.dumps({**self._receipt, "data": kept}, indent=1) + "\n"
        try:
            write(self._path(RECEIPT), text, files.WRITTEN)
        except (OSError, UserError) as error:
            warn(f"{error}; no receipt is written")

    def _path(self, name):
        return os.path.join(self.folder, name)


def part_of(args, param, iteration, options, ranks, protos, source):
    """The facts of a start or resumption at `iteration`, for JSON; the data comes later.

    options: words of the command that say how is computed; ranks: the engine's, of several
    processes; protos: Prototxts with the solver's nets; source: the file of weights or solverstate.
    """
    net = param.train_net or param.net
    folder = os.path.dirname(param.snapshot_prefix) or "."
    return {
        "from": iteration,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "folder": os.path.relpath(".", folder),
        "solver": args.solver,
        "set": [*args.set, *([f"max_iter={args.iterations}"] if args.iterations else [])],
        "options": options,
        "processes": 1 if ranks is None else ranks.count,
        "settings": settings_lines(param),
        "snapshots": os.path.basename(param.snapshot_prefix),
        "start": {"path": source, "sha256": facts.sha256(source)},
        "files": {net: facts.sha256(net), **read_data.files_of(protos[net])},
        "toolkit": facts.toolkit(),
        "machine": facts.machine(),
        "data": None,
    }


def settings_lines(param):
    """The settings in force, line by line, but for the place of the snapshots."""
    mine = type(param).FromString(param.SerializeToString())
    mine.ClearField("snapshot_prefix")
    return text_format.MessageToString(mine).splitlines()


def checksums(net):
    """{layer: [CRC-32 of each parameter blob's float32 numbers]}."""
    return {
        name: [zlib.crc32(np.ascontiguousarray(blob.data, np.float32).data) for blob in blobs]
        for name, blobs in net.params.items()
    }


def _exact(values):
    """A loss as JSON gives it back to the bit; of many numbers, their checksum."""
    numbers = np.asarray(values, np.float32).ravel()
    if numbers.size == 1:
        return float(numbers[0])
    return f"crc32 {zlib.crc32(numbers.data)}"
