"""A file that an option names: is it there, and is it of the kind that is wanted?

Asked before anything else of a command's work, so that a slip is told as what it is.
"""

from __future__ import annotations

import codecs
import os
import re

from prototxt import text
from prototxt.files import wrong_kind
from prototxt.opening import open_regular
from prototxt.paths import absent
from tools.common.cli import UserError

NAMES = {
    "solver": "a solver's prototxt",
    "net": "a net's prototxt",
    "weights": "a caffemodel",
    "state": "a solverstate",
    "text": "a text file",
}
READ_AS = {
    "solver": ("solver", "text"),
    "net": ("net", "text"),
    "text": ("solver", "net", "text", "a text file"),
}
"""What else, besides itself, a reader of a kind is to judge."""

ENGINES_NAMES = {
    "solver": ("solver prototxt",),
    "net": ("net prototxt",),
    "weights": ("caffemodel", "HDF5"),
    "state": ("solverstate", "HDF5"),
    "text": ("text", "net prototxt", "solver prototxt", "JSON"),
}
"""What the engine calls the kinds that are accepted."""

ENDINGS = {
    "weights": (".caffemodel", ".caffemodel.h5"),
    "state": (".solverstate", ".solverstate.h5"),
}
HEAD = 1 << 16
"""So many bytes tell what a file is."""

FIELD = re.compile(r"(?m)^\s*\w+\s*[:{<]")
"""Where a text may be a prototxt that has no field by which to tell its kind."""

HDF5 = b"\x89HDF\r\n\x1a\n"
STATE_START = b"\x08"
WEIGHTS_STARTS = (b"\n", b"\x12", b"\x1a", b" ", b'"', b"(", b"2", b"8", b"B", b"\xa2\x06")
"""How protobuf messages begin: with the tags of SolverState's `iter` and of NetParameter's
fields."""


def check_input(path, kind="", option=""):
    """Raise UserError unless the file `path` is there and is not plainly of another kind.

    kind: a key of NAMES, or empty for any; option: what named the file (`--weights`). A file that
    is wanted but damaged passes: its reader knows more.
    """
    where = f"{option} {path}".strip()
    if os.path.isdir(path):
        raise UserError(f"{where}: is a folder; {_to_name(path, kind)}")
    if not os.path.exists(path):
        raise UserError(f"{where}: {absent(path)}")
    found = kind_of(path, where)
    if found == "empty":
        raise UserError(f"{where}: the file is empty")
    if not kind or found in READ_AS.get(kind, (kind,)):
        return
    remedy = _remedy(path, found, kind)
    wrong = wrong_kind(os.fspath(path), NAMES[kind], *ENGINES_NAMES[kind])
    if wrong and not remedy:
        raise UserError(f"{where}: {wrong}")
    if found:
        said = NAMES.get(found, found)
        raise UserError(f"{where}: it is {said}, not {NAMES[kind]}{remedy}")


def kind_of(path, where=""):
    """What a file is by its content: a key of NAMES, `empty`, `a text file` that is no prototxt, or
    nothing where that is not plain. Raises UserError where it cannot be read."""
    try:
        with open_regular(path) as file:
            head = file.read(HEAD)
    except OSError as error:
        raise UserError(f"{where or path}: cannot be read ({error.strerror})") from None
    if not head:
        return "empty"
    if head.startswith(HDF5):
        return _kind_of_hdf5(path)
    if b"\0" in head:
        if head.startswith(STATE_START):
            return "state"
        return "weights" if head.startswith(WEIGHTS_STARTS) else ""
    try:  # the last character of the part may be cut
        content = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:  # comments may be of any encoding
        return text.kind(head.decode("latin-1"))
    return text.kind(content) or ("text" if FIELD.search(content) else "a text file")


def _kind_of_hdf5(path):
    """Weights and states of Caffe differ by their groups."""
    import caffe  # here: PyTorch is slow to import

    engine = getattr(caffe, "engine", None)
    try:
        if engine is not None:
            groups = set(engine.hdf5_names(path))
        else:
            import h5py

            with h5py.File(path, "r") as file:
                groups = set(file)
    except Exception:  # h5py raises many kinds for a damaged file; the reader knows more
        return ""
    return "state" if {"iter", "history"} & groups else "weights" if "data" in groups else ""


def _to_name(path, kind):
    """What is to be named in place of a folder: its files that may be meant, the last three."""
    wanted = ENDINGS.get(kind, (".prototxt",) if kind in ("solver", "net") else ())
    try:
        found = [entry for entry in os.listdir(path) if wanted and entry.endswith(wanted)]
    except OSError:
        found = []
    if kind in ("solver", "net"):  # solver_in_force.prototxt is a run's own
        found = [e for e in found if e.startswith("solver") == (kind == "solver")]
        found = [e for e in found if e != "solver_in_force.prototxt"]
    found.sort(key=lambda entry: [int(n) for n in re.findall(r"\d+", entry)] or [0])
    paths = [os.path.normpath(os.path.join(path, entry)) for entry in found[-3:]]
    return f"name a file in it: {', '.join(paths)}" if paths else "name a file"


def _remedy(path, found, kind):
    """What to give in place of the file `path`, where something can be told."""
    if kind in ENDINGS:
        beside = _beside(path, kind)
        if beside:
            return f"; did you mean {beside}?"
        if (kind, found) == ("state", "weights"):
            return "; start from it with --weights"
    if (kind, found) == ("solver", "net"):
        beside = os.path.join(os.path.dirname(path), "solver.prototxt")
        return f"; did you mean {beside}?" if os.path.isfile(beside) else ""
    if (kind, found) == ("net", "solver"):
        nets = _nets_of(path)
        return f"; its nets are {', '.join(nets)}" if nets else ""
    return ""


def _beside(path, kind):
    """The file of `kind` of the snapshot that the file `path` is another file of, or None."""
    stem = re.sub(r"\.(caffemodel|solverstate|position\.json)(\.h5)?$", "", os.fspath(path))
    others = [stem + end for end in ENDINGS[kind] if stem + end != os.fspath(path)]
    return next(filter(os.path.isfile, others), None)


def _nets_of(path):
    with open_regular(path) as file:
        head = file.read(HEAD).decode("utf-8", "replace")
    found = re.findall(r"(?m)^\s*(?:train_net|test_net|net)\s*:\s*['\"]([^'\"]+)", head)
    return list(dict.fromkeys(found))
