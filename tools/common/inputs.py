"""A file that an option names: is it there, and is it of the kind that is wanted?

Asked before anything else of a command's work, so that a slip is told as what it is.
"""

from __future__ import annotations

import codecs
import os
import re

from prototxt import text
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
    "solver": ("solver prototxt", "text"),
    "net": ("net prototxt", "text"),
    "weights": ("caffemodel", "HDF5"),
    "state": ("solverstate", "HDF5"),
    "text": ("text", "net prototxt", "solver prototxt", "JSON"),
}
"""What caffe.engine.misfit calls the kinds that are accepted."""

ENDINGS = {
    "weights": (".caffemodel", ".caffemodel.h5"),
    "state": (".solverstate", ".solverstate.h5"),
}
HEAD = 1 << 16
"""So many bytes tell what a file is."""

FIELD = re.compile(r"(?m)^\s*\w+\s*[:{<]")
"""Where a text may be a prototxt that has no field by which to tell its kind."""

HDF5 = b"\x89HDF\r\n\x1a\n"
STARTS = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"PK\x03\x04": "a zip archive (PyTorch's .pth is one)",
    b"\x1f\x8b": "compressed by gzip",
    b"\x93NUMPY": "a NumPy array",
    b"\x08": "state",  # protobuf's tag of SolverState.iter
    # The tags of NetParameter's fields.
    **dict.fromkeys((b"\n", b"\x12", b"\x1a", b" ", b'"', b"(", b"2", b"8", b"B", b"\xa2\x06"),
                    "weights"),
}  # fmt: skip
"""What a binary file is that begins so."""


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
    if not os.path.isfile(path):  # a pipe can be read once only
        return
    found = kind_of(path, where)
    if found == "empty":
        raise UserError(f"{where}: the file is empty")
    if found in READ_AS.get(kind, (kind,)) or not kind:
        return
    if found not in NAMES:
        _ask_the_engine(path, where, kind)
    if not found:
        return
    said = NAMES.get(found, found)
    raise UserError(f"{where}: is {said}, not {NAMES[kind]}{_remedy(path, found, kind)}")


def _ask_the_engine(path, where, kind):
    """Raise UserError where the engine knows the file as one of another kind than `kind`."""
    import caffe

    misfit = getattr(getattr(caffe, "engine", None), "misfit", None)
    wrong = misfit(os.fspath(path), NAMES[kind], *ENGINES_NAMES[kind]) if misfit else ""
    if wrong:
        raise UserError(f"{where}: {wrong}")


def kind_of(path, where=""):
    """What a file is by its content: a key of NAMES, `empty`, or words for another kind;
    nothing where that is not plain. Raises UserError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise UserError(f"{where or path}: cannot be read ({error.strerror})") from None
    if not head:
        return "empty"
    if head.startswith(HDF5):
        return _kind_of_hdf5(path)
    if b"\0" in head:
        return next((kind for start, kind in STARTS.items() if head.startswith(start)), "")
    try:  # the last character of the part may be cut
        content = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:  # comments may be of any encoding
        return text.kind(head.decode("latin-1"))
    return text.kind(content) or _kind_of_text(content)


def _kind_of_text(content):
    if content.startswith("version https://git-lfs"):
        return "a Git LFS pointer (`git lfs pull` fetches the file)"
    if content.lstrip()[:5].lower() in ("<!doc", "<html"):
        return "a web page"
    return "text" if FIELD.search(content) else "a text file"


def _kind_of_hdf5(path):
    """Weights and states of Caffe differ by their groups."""
    try:
        import h5py

        with h5py.File(path, "r") as file:
            groups = set(file)
    except (ImportError, OSError):
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
        if "PyTorch" in found:
            return "; surgery/make_init.py --from reads that"
    if (kind, found) == ("solver", "net"):
        beside = os.path.join(os.path.dirname(path), "solver.prototxt")
        return f"; did you mean {beside}?" if os.path.isfile(beside) else ""
    if (kind, found) == ("net", "solver"):
        nets = _nets_of(path)
        return f"; its nets are {', '.join(nets)}" if nets else ""
    return ""


def _beside(path, kind):
    """The file of `kind` of the snapshot that the file `path` is of, or None."""
    stem = re.sub(r"\.(caffemodel|solverstate|position\.json)(\.h5)?$", "", os.fspath(path))
    return next((stem + end for end in ENDINGS[kind] if os.path.isfile(stem + end)), None)


def _nets_of(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        found = re.findall(r"(?m)^\s*(?:train_net|test_net|net)\s*:\s*['\"]([^'\"]+)", file.read())
    return list(dict.fromkeys(found))
