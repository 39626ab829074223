"""Files are read through the doors that refuse what is no regular file, and what is too large."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("engine/caffe", "data_layers", "prototxt", "surgery", "solvers", "tools")
DOORS = ("open_regular", "read_regular", "read_whole", "FileBytes")
OTHERWISE = {
    "engine/caffe/proto/caffe_pb2.py": "a table of the engine's own",
    "engine/caffe/proto/forks.py": "a table of the engine's own",
    "engine/caffe/proto/files.py": "looks at what is in the way, a regular file",
    "engine/caffe/layers/hdf5_layers.py": "its own output, which it has looked at",
    "prototxt/files.py": "looks at what is in the way, a regular file",
    "data_layers/segmentation/opening.py": "a door",
    "tools/nyud.py": "a table of the toolkit's own; files of its own name that it would write",
    "tools/common/memory_sizes.py": "the system's own, in /proc",
    "tools/demo.py": "what the demo has just written",
}
OWN_FOLDERS = ("tools/benchmark/", "tools/gpu/", "tools/planning/")
"""Their processes read what the others of them have written."""


def reads(tree):
    """The lines of calls that open a file to read, by any other way than a door."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if node.args and ast.unparse(node.args[0]).lstrip("f")[1:].startswith("/proc/"):
            continue  # the system's own
        name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        plain = isinstance(function, ast.Name) or (
            isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "io"
        )
        if name == "open" and plain:
            words = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode")]
            mode = words[0].value if words and isinstance(words[0], ast.Constant) else "r"
            if not set(str(mode)) & set("wax"):
                yield node.lineno
        elif name in ("read_bytes", "fromfile", "genfromtxt", "loadtxt", "loadmat"):
            yield node.lineno
        elif name == "read_text" and not isinstance(function, ast.Name):
            if getattr(function.value, "id", "") not in ("text", "files"):
                yield node.lineno
        elif name == "load" and getattr(getattr(function, "value", None), "id", "") == "np":
            yield node.lineno


def sources():
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("room", ROOMS)
def test_files_are_read_through_the_doors(room):
    found = []
    for name in sources():
        if not name.startswith(room + "/") or name in OTHERWISE or name.startswith(OWN_FOLDERS):
            continue
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        found += [f"{name}:{line}" for line in reads(tree)]
    assert not found, f"open with {' or '.join(DOORS)}, or say in OTHERWISE why not"


def test_what_reads_otherwise_is_there_and_does():
    for name in OTHERWISE:
        assert list(reads(ast.parse((ROOT / name).read_text(encoding="utf-8")))), name


@pytest.mark.parametrize(
    "line",
    ["open(p)", "open(p, 'rb')", "open(p, mode='r+')", "io.open(p)", "Path(p).read_text()",
     "Path(p).read_bytes()", "np.load(p)", "np.fromfile(p)", "scipy.io.loadmat(p)"],
)  # fmt: skip
def test_every_plain_way_to_read_is_known(line):
    assert list(reads(ast.parse(line))) == [1]


@pytest.mark.parametrize(
    "line",
    ["open(p, 'w')", "open(p, 'ab')", "open('/proc/cpuinfo')", "open(f'/proc/{n}/stat')",
     "Image.open(file)", "f(p)"],
)  # fmt: skip
def test_other_calls_are_none(line):
    assert not list(reads(ast.parse(line)))
