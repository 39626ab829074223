"""What the tables of `fields_*.py` are made of: how a field's effect is looked for.

A table is {"Message.field": rows}. Rows are `Pair`s of settings whose effects must differ,
`Same` ones whose effects may not (with the reason why the field has none), `Refused` ones, `Warned`
ones whose only effect is a line in the log, or the name of a test `Elsewhere`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

import caffe
from caffe import log
from caffe.engine import InputError
from caffe.proto import caffe_pb2
from tests.helpers import data_files
from tests.helpers.layer_runs import Run, distinct
from tests.helpers.net_texts import CLASSIFIER

_LOG = -2  # in a OneLayer's outcome
WITHOUT_GRADIENT = {"Accuracy", "ArgMax", "Embed", "Threshold"}
LABELLED = {"SoftmaxWithLoss"}

# What the tables put in.
IMAGE = (2, 4, 5, 6)
SCORES = distinct(6, 4)
CLASSES = np.array([0, 1, 2, 3, 1, 2])
POSITIVE = distinct(2, 4, 5, 6) + 13
TRAINING = {"phase": caffe.TRAIN}
ONE_CODE = "there is one implementation, which gives these numbers"


class OneLayer(NamedTuple):
    """A layer by itself: `fields` stand in its message `param`, `rest` beside that."""

    kind: str
    param: str
    fields: str
    bottoms: tuple
    rest: str = ""
    more: dict = {}

    def text(self) -> str:
        return f"{self.param} {{ {self.fields} }} {self.rest}"

    def outcome(self) -> list:
        """All arrays after two passes forward and one backward, log, names of files."""
        if self.kind == "Data":
            data_files.need_lmdb()
        caffe.set_random_seed(1)
        before = set(os.listdir())
        arrays = [b if isinstance(b, np.ndarray) else distinct(*b) for b in self.bottoms]
        with logged() as lines:
            run = Run(self.kind, self.text(), *arrays, **self.more)
            if self.kind == "MemoryData":
                run.layer.set_arrays(distinct(*run.layer.shape), np.zeros(run.layer.shape[0], "f4"))
            for _ in range(2):
                run.layer.reshape(run.bottom, run.top)
                run.layer.forward(run.bottom, run.top)
            tops = [blob.data.copy() for blob in run.top]
            if self.kind not in WITHOUT_GRADIENT and arrays:
                allowed = run.layer.allow_force_backward
                down = [all(allowed[i : i + 1]) for i in range(len(arrays))]
                down[1:] = [] if self.kind in LABELLED else down[1:]
                down += [False] * (len(arrays) - len(down))
                run.backward(*[distinct(*blob.shape, seed=9) for blob in run.top], down=down)
        blobs = [*run.bottom, *run.layer.blobs]
        made = set(os.listdir()) - before
        for name in made:
            os.unlink(name)
        return [*tops, *[a.copy() for b in blobs for a in (b.data, b.diff)], lines(), sorted(made)]


class OneSolver(NamedTuple):
    """A solver of `settings` over the net `net`, trained to its end."""

    settings: str
    net: str = CLASSIFIER

    def text(self) -> str:
        return self.settings + self.net

    def outcome(self) -> list:
        """Parameters, history, blobs' shapes, files and log of the training."""
        caffe.set_random_seed(1)
        Path("net.prototxt").write_text(self.net)
        Path("other.prototxt").write_text(CLASSIFIER.replace("tiny", "other"))
        Path("solver.prototxt").write_text(self.settings)
        before = {path: path.read_bytes() for path in Path().glob("*") if path.is_file()}
        with logged() as lines:
            solver = caffe.get_solver("solver.prototxt")
            nets = [solver.net, *solver.test_nets]
            started = [arrays_of(net) for net in nets]
            for net in nets:
                net.blobs["data"].data[...] = distinct(*net.blobs["data"].data.shape)
                net.blobs["label"].data[...] = np.arange(4) % 3
            solver.solve()
        files = {}
        for path in sorted(Path().glob("*")):
            if path.is_file() and path not in before:
                files[path.name] = _without_run(path)
                path.unlink()
        history = [blob.data.copy() for blob in solver._history]
        return [started, [arrays_of(net) for net in nets], history, files, lines()]


def _without_run(path: Path) -> bytes | dict | None:
    """A file's content, less what says which of two equal trainings wrote it."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        return {key: v for key, v in content.items() if key not in ("run", "lineage")}
    return None if path.suffix == ".lock" else path.read_bytes()


class OneNet(NamedTuple):
    """A net, run forward and back once."""

    net: str
    phase: int = caffe.TRAIN

    def text(self) -> str:
        return self.net

    def outcome(self) -> list:
        """Names, arrays and log lines."""
        caffe.set_random_seed(1)
        Path("net.prototxt").write_text(self.net)
        with logged() as lines:
            net = caffe.Net("net.prototxt", self.phase)
            for name in net.inputs:
                net.blobs[name].data[...] = distinct(*net.blobs[name].data.shape) % 3
            net.forward(), net.backward()
        names = [net.name, net.inputs, net.outputs, list(net.top_names.items())]
        return [names, arrays_of(net), dict(net.blob_loss_weights), lines()]


def arrays_of(net) -> list:
    """Copies of the blobs and parameters of a net, and their gradients, by name."""
    blobs = [*net.blobs.items(), *((n, b) for n, some in net.params.items() for b in some)]
    return [(name, array.copy()) for name, blob in blobs for array in (blob.data, blob.diff)]


class Pair(NamedTuple):
    """Two settings that both work, and whose effects differ."""

    one: object
    other: object

    def check(self, field: str) -> None:
        assert mentions(field, self.one.text() + " " + self.other.text())
        first = self.one.outcome()
        assert same(first, self.one.outcome()), "chance, not the field, might make the difference"
        assert not same(first, self.other.outcome()), f"{field} changes nothing"


class Same(NamedTuple):
    """Two settings with the same effect, and why that is right."""

    why: str
    one: object
    other: object

    def check(self, field: str) -> None:
        assert mentions(field, self.one.text() + " " + self.other.text())
        assert same(self.one.outcome(), self.other.outcome())


class Refused(NamedTuple):
    """A setting that is refused in one line with `words` in it."""

    one: object
    words: str

    def check(self, field: str) -> None:
        assert mentions(field, self.one.text())
        try:
            self.one.outcome()
        except InputError as error:
            assert re.search(self.words, str(error)) and "\n" not in str(error), error
        else:
            raise AssertionError(f"{field} is accepted")


class Warned(NamedTuple):
    """A layer's setting without an effect but for a line in the log with `words` in it."""

    one: OneLayer
    words: str
    other: OneLayer

    def check(self, field: str) -> None:
        assert mentions(field, self.one.text())
        first, second = self.one.outcome(), self.other.outcome()
        told = [line for line in first[_LOG] if line not in second[_LOG]]
        assert len(told) == 1 and re.search(self.words, told[0]), told
        first[_LOG] = second[_LOG]
        assert same(first, second)


class Elsewhere(NamedTuple):
    """A test of another file, `path` below tests/, that shows the field's effect."""

    path: str
    name: str

    def check(self, field: str) -> None:
        text = (Path(__file__).resolve().parents[2] / self.path).read_text()
        assert f"def {self.name}(" in text


def mentions(field: str, text: str) -> bool:
    """Whether a prototxt's text sets the field (of its bare name)."""
    return bool(re.search(rf"\b{field}\s*[:{{]", text))


def same(a, b) -> bool:
    """Whether two outcomes are equal to the bit, NaN equal to itself."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and np.array_equal(a, b, equal_nan=True)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@contextlib.contextmanager
def logged():
    """Context: what it gives, called afterwards, is the log of the time within, without stamps."""
    found: list[str] = []
    log.set_min_level(0)
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: found
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            log.set_min_level(None)
            file.seek(0)
            for line in file.read().decode().splitlines():
                line = re.sub(r"^\w\d{4} \S+ +\d+ \S+\] ", "", line)
                found.append(re.sub(r"\(\S+ iter/s, \S+?s/", "(", line))


_PARAMS = {
    field.message_type.name: field.name
    for field in caffe_pb2.LayerParameter.DESCRIPTOR.fields
    if field.name.endswith("_param")
}


class Layers:
    """Makes the rows of layer type `kind` and message `name`: `common` fields stand in all of
    them, `bottoms` are shapes or arrays, `rest` stands beside the message."""

    def __init__(self, kind, name, *bottoms, common="", rest="", **more):
        self.kind, self.param, self.bottoms = kind, _PARAMS[name], bottoms
        self.common, self.rest, self.more = common, rest, more

    def one(self, fields: str) -> OneLayer:
        text = f"{self.common} {fields}"
        return OneLayer(self.kind, self.param, text, self.bottoms, self.rest, self.more)

    def differ(self, one: str, other: str = "") -> Pair:
        return Pair(self.one(other), self.one(one))

    def alike(self, why: str, one: str, other: str = "") -> Same:
        return Same(why, self.one(other), self.one(one))

    def refuse(self, fields: str, words: str) -> Refused:
        return Refused(self.one(fields), words)

    def warn(self, one: str, words: str, other: str = "") -> Warned:
        return Warned(self.one(one), words, self.one(other))
