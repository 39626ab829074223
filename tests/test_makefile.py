"""What `make` would run."""

from __future__ import annotations

import os
import shutil
import subprocess

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
