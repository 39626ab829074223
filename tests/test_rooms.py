"""Which room may import from which: no circle between rooms, and no arrow that runs back up."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "engine" / "caffe"
PYTHONPATH = [ROOT, ROOT / "engine", ROOT / "data_layers"]

# The engine: a room, and the rooms and modules that it may import from. A module at the top of
# the engine is named as a file.
GROUND = {"errors.py", "settings.py", "log.py", "ranks.py"}
ROOMS = {
    "compute": {*GROUND},
    "proto": {"errors.py"},
    "core": {*GROUND, "compute", "proto"},
    "reading": {*GROUND, "compute", "proto", "core"},
    "layers": {*GROUND, "compute", "proto", "core", "reading"},
    "run": {*GROUND, "compute", "proto", "core", "layers"},
    "training": {*GROUND, "compute", "proto", "core", "layers", "run", "net.py"},
}
BELOW_THE_FACE = {*GROUND, *ROOMS} - {"training"}
"""What the modules of pycaffe's own face may import besides one another."""

ABOVE = {"__init__.py", "__main__.py", "_caffe.py", "engine.py", "pycaffe.py"}
"""They name all that a user gets, trainers too."""

# The toolkit: what a folder may import from, `caffe` and published packages aside.
TOOLKIT = {
    "prototxt": {"prototxt", "data_layers"},
    "data_layers": {"data_layers"},
    "surgery": {"surgery", "prototxt", "tools/common"},
    "tools/common": {"tools/common", "prototxt", "data_layers"},
    "tools/scoring": {"tools/scoring", "tools/common", "prototxt", "data_layers"},
    "tools/arithmetic": {"tools/arithmetic", "tools/common", "prototxt"},
    "tools/receipts": {"tools/receipts", "tools/common", "prototxt"},
    "tools/reporting": {
        "tools/reporting",
        "tools/common",
        "tools/scoring",
        "tools/receipts",
        "prototxt",
        "data_layers",
    },
    "tools/datasets": {"tools/datasets", "tools/common", "prototxt", "data_layers"},
}
MEASURING = {"tools/benchmark/torch_side.py", "tools/planning/torch_memory.py"} | {
    f"tools/gpu/torch_{name}.py" for name in ("facts", "module", "timing")
}
"""The toolkit's only modules that know PyTorch: they measure what it does without the engine."""


def imported(path):
    """(line, dotted name, file or None) of all that a Python file imports: `from a import b` as
    a.b; the file, where it is one of this checkout, is what the name means or lies in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names, places = [alias.name for alias in node.names], PYTHONPATH
        elif isinstance(node, ast.ImportFrom):
            module = [node.module] if node.module else []
            names = [".".join([*module, alias.name]) for alias in node.names]
            places = [path.parents[node.level - 1]] if node.level else PYTHONPATH
        else:
            continue
        for name in names:
            yield node.lineno, name, file_of(name, places)


def file_of(name, places):
    """The file that the dotted name means, or lies in, under one of the folders `places`."""
    parts = name.split(".")
    for count in range(len(parts), -1, -1):
        for place in (folder.joinpath(*parts[:count]) for folder in places):
            for file in (place.with_suffix(".py"), place / "__init__.py"):
                if file.is_file():
                    return file
    return None


def room_of(path):
    """The engine's room that a file lies in, or the file's own name at the top of the engine."""
    return path.relative_to(ENGINE).parts[0]


def forbidden(folder, allowed):
    """The imports of this checkout's files in `folder` that `allowed(file)` forbids, in words."""
    return [
        f"{path.relative_to(ROOT)}:{line} imports {target.relative_to(ROOT)}"
        for path in sorted(folder.rglob("*.py"))
        for line, _, target in imported(path)
        if target is not None and not allowed(target)
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_the_engine_imports_only_from_those_below_it(room):
    def allowed(target):
        return ENGINE in target.parents and room_of(target) in {room, *ROOMS[room]}

    assert forbidden(ENGINE / room, allowed) == []


def test_every_folder_of_the_engine_has_its_place_among_the_rooms():
    folders = {path.parent.name for path in ENGINE.glob("*/__init__.py")}
    assert folders == {*ROOMS, "command"}


def test_the_engine_imports_nothing_of_the_toolkit():
    assert forbidden(ENGINE, lambda target: ENGINE in target.parents) == []


def test_pycaffes_face_imports_no_trainer_and_has_no_circle():
    wanted = {}
    for path in ENGINE.glob("*.py"):
        targets = {room_of(target) for _, _, target in imported(path) if target is not None}
        wanted[path.name] = targets - {path.name}
    face = set(wanted) - ABOVE
    for name in sorted(face):
        assert wanted[name] <= BELOW_THE_FACE | face, name
    done = set()
    while face - done:
        free = {name for name in face - done if wanted[name] & face <= done}
        assert free, f"a circle among {sorted(face - done)}"
        done |= free


@pytest.mark.parametrize("folder", TOOLKIT)
def test_a_folder_of_the_toolkit_imports_only_from_those_below_it(folder):
    def allowed(target):
        place = target.relative_to(ROOT).as_posix()
        return any(place.startswith(f"{other}/") for other in {*TOOLKIT[folder], "engine"})

    assert forbidden(ROOT / folder, allowed) == []


def test_no_tool_imports_a_solver_script():
    assert forbidden(ROOT / "tools", lambda target: ROOT / "solvers" not in target.parents) == []


def test_the_toolkit_leaves_torch_to_the_engine():
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("prototxt", "data_layers", "surgery", "tools", "solvers")
        for path in (ROOT / folder).rglob("*.py")
        for _, name, _ in imported(path)
        if name.split(".")[0] == "torch"
    }
    assert found == MEASURING
