"""What `make` would run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@pytest.fixture
def commands(root, tmp_path):
    """commands(words) -> what `make words` would run, in a checkout without an environment."""
    shutil.copy(root / "Makefile", tmp_path)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    plain = {name: value for name, value in plain.items() if name not in ("PYTHON", "PYTHONPATH")}

    def commands(*words):
        done = subprocess.run(["make", "-n", *words], cwd=tmp_path, env=plain, text=True,
                              capture_output=True, check=True)  # fmt: skip
        return done.stdout

    return commands


@pytest.mark.parametrize("target", ["conformance-gpu", "bench-gpu"])
def test_what_runs_on_a_gpu_box_installs_nothing(commands, tmp_path, target):
    found = commands(target)
    assert "pip" not in found and "venv" not in found
    assert f'PYTHONPATH="{tmp_path}:{tmp_path}/engine:{tmp_path}/data_layers" python3 ' in found


def test_the_environment_is_taken_where_it_is_there_unless_another_python_is_named(
    commands, tmp_path
):
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").touch()
    assert " .venv/bin/python -m pytest" in commands("conformance-gpu")
    assert " other/python -m pytest" in commands("conformance-gpu", "PYTHON=other/python")


@pytest.mark.parametrize(("xdist", "options"), [("true", "-n 3 "), ("false", "")])
@pytest.mark.parametrize(("target", "marked"), [("test", False), ("test-quick", True)])
def test_tests_run_in_parallel_where_xdist_is_installed(
    commands, tmp_path, xdist, options, target, marked
):
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{xdist}\n")
    python.chmod(0o755)
    (line,) = [
        line
        for line in commands("-o", "setup", target, "JOBS=3").splitlines()
        if "-m pytest" in line
    ]
    assert line.startswith(f".venv/bin/python -m pytest {options}")
    assert ("-n " in line) == bool(options) and ("not slow" in line) == marked


def test_checkout_and_environment_can_be_moved_together(commands, tmp_path):
    (tmp_path / "engine").mkdir()
    for name in ("pyproject.toml", "engine/pyproject.toml"):
        (tmp_path / name).touch()
    lines = commands("setup").replace("\\\n", "").splitlines()
    writing = next(line for line in lines if "0-checkout.pth" in line)
    old = tmp_path / "old"
    for module in ("tools.py", "engine/caffe.py", "data_layers/voc_layers.py"):
        (old / module).parent.mkdir(parents=True, exist_ok=True)
        (old / module).touch()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", old / ".venv"], check=True)
    subprocess.run(writing, shell=True, cwd=old, check=True)
    new = old.rename(tmp_path / "new")
    code = "import caffe, tools, voc_layers as v; print(caffe.__file__, tools.__file__, v.__file__)"
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run([new / ".venv/bin/python", "-c", code], cwd=tmp_path, env=plain,
                           text=True, capture_output=True, check=True)  # fmt: skip
    names = "engine/caffe.py", "tools.py", "data_layers/voc_layers.py"
    assert found.stdout.split() == [str(new / name) for name in names]
