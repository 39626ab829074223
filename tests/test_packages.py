"""What `pip install ./engine` and `make setup` install, as the two pyproject.toml say it."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

import caffe

tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")

MODULES = {"pillow": "PIL", "protobuf": "google"}
"""{package: its module}, where the names differ"""
OWN = {"caffe", "prototxt", "segmentation", "solvers", "surgery", "tools"}
TOOLKIT = ("data_layers", "prototxt", "solvers", "surgery", "tools")


def read(path: Path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def modules(requirements) -> set:
    names = (re.match(r"[\w-]+", line).group() for line in requirements)
    return {MODULES.get(name, name.replace("-", "_")) for name in names}


def extras(pyproject) -> set:
    lists = pyproject["project"]["optional-dependencies"].values()
    return modules(line for lines in lists for line in lines)


def imports(tree: ast.AST, whole: bool) -> set:
    """The top modules that a file imports, where it is loaded or (`whole`) anywhere."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
        elif whole or not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            found |= imports(node, whole)
    return found


def foreign(folders, whole: bool) -> set:
    """The modules that `folders` import and that are neither Python's nor this project's."""
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    assert files
    found = set().union(*(imports(ast.parse(path.read_text()), whole) for path in files))
    own = OWN | {path.stem for folder in folders for path in folder.glob("*.py")}
    return found - own - set(sys.stdlib_module_names)


@pytest.fixture
def engine(root):
    return read(root / "engine/pyproject.toml")


@pytest.fixture
def toolkit(root):
    return read(root / "pyproject.toml")


def test_the_command_caffe_is_the_one_of_python_m_caffe(engine):
    module, _, name = engine["project"]["scripts"]["caffe"].partition(":")
    from caffe.__main__ import main

    assert getattr(importlib.import_module(module), name) is main


def test_the_wheels_version_is_that_of_caffe_engine_and_of_the_toolkit(engine, toolkit, root):
    rule = engine["tool"]["hatch"]["version"]
    text = (root / "engine" / rule["path"]).read_text(encoding="utf-8")
    found = re.search(rule["pattern"], text, re.MULTILINE)
    assert found["version"] == caffe.engine.version == toolkit["project"]["version"]
    assert caffe.__version__ == "1.0.0"


def test_the_engine_needs_what_it_imports(engine, root):
    folders = [root / "engine/caffe"]
    needed = modules(engine["project"]["dependencies"])
    assert foreign(folders, whole=False) <= needed
    assert foreign(folders, whole=True) - extras(engine) == needed


def test_the_toolkit_needs_what_it_imports(toolkit, engine, root):
    folders = [root / name for name in TOOLKIT]
    needed = modules(toolkit["project"]["dependencies"])
    assert foreign(folders, whole=False) <= needed | {"torch"}  # tools/benchmark/torch_side.py
    found = foreign(folders, whole=True) - extras(toolkit) - {"torch"}
    assert found == needed


def test_extras_are_what_make_setup_installs(toolkit, engine, root):
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    line = re.search(r"--editable './engine\[(.*)\]' '\.\[(.*)\]'", makefile)
    assert set(line[1].split(",")) == set(engine["project"]["optional-dependencies"])
    assert set(line[2].split(",")) == set(toolkit["project"]["optional-dependencies"])


def test_files_that_are_no_python_lie_in_the_engines_package(root):
    """hatchling takes all of it that git does not ignore."""
    assert (root / "engine/caffe/proto/schema.tsv").is_file()
    assert (root / "engine/caffe/py.typed").is_file()
    assert (root / "engine/LICENSE").read_text() == (root / "LICENSE").read_text()
