"""`python -m tools.gpu_report`: what it refuses, and a dry run from any folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tools import gpu_report
from tools.common import cli
from tools.gpu import machine
from tools.gpu.runner import STAGES


def error_of(argv, capsys):
    """(exit code, stderr) of the command."""
    with pytest.raises(SystemExit) as caught:
        cli.run(gpu_report.main, argv)
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--stages", "check,chekc"], "--stages chekc: not one of check, conformance"),
        (["--stages", ","], "--stages: names none"),
        (["--minutes", "0"], "--minutes 0: must be from 0.2 to 1440"),
        (["--shrink", "0"], "--shrink 0: must be 1 or more"),
        (["--cpu", "--data", "nowhere"], "--data nowhere: no such folder; --pack .gpu-pack makes"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(argv, words, capsys):
    code, error = error_of(argv, capsys)
    assert code == 2 and words in error and error.count("\n") == 1


def test_packages_that_are_missing_are_named_in_one_line(capsys, monkeypatch):
    needed = {**gpu_report.NEEDED, "no_such_module": "bolts", "google.no_such_module": "nuts"}
    monkeypatch.setattr(gpu_report, "NEEDED", needed)
    code, error = error_of(["--cpu"], capsys)
    assert code == 2 and error.count("\n") == 1
    assert f"{sys.executable} lacks bolts, nuts; install them (pip install bolts nuts)" in error


def test_it_starts_without_any_package(root):
    """So that it can say which are missing."""
    code = (
        "import sys; sys.modules.update({n: None for n in ('numpy', 'torch', 'matplotlib')})\n"
        "sys.argv = ['gpu_report.py', '--cpu']\n"
        "import runpy; runpy.run_module('tools.gpu_report', run_name='__main__')"
    )
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=env, capture_output=True, text=True
    )
    assert found.returncode == 2
    assert "lacks torch, numpy, matplotlib; install them" in found.stderr, found.stderr


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_refused_in_one_line(tmp_path, capsys):
    out = tmp_path / "out"
    code, error = error_of(["--gpu", "99", "--out", str(out)], capsys)
    error = error.splitlines()[-1]
    assert code == 2 and "GPU 99: " in error
    assert "there is no such GPU; PyTorch sees" in error or "built without CUDA" in error
    assert "--cpu makes a dry run" in error
    assert not list(out.iterdir())


def test_a_pack_that_is_not_whole_is_refused_before_any_work(tmp_path, capsys):
    (tmp_path / "pack").mkdir()
    words = ["--cpu", "--data", str(tmp_path / "pack"), "--out", str(tmp_path / "out")]
    code, error = error_of(words, capsys)
    assert code == 2 and "is " in error and "a whole pack?" in error
    assert not list((tmp_path / "out").iterdir())


def test_an_out_that_cannot_be_written_is_refused_before_any_work(tmp_path, capsys):
    (tmp_path / "out" / "gpu-report.md").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    code, error = error_of(["--cpu", "--out", str(tmp_path / "out")], capsys)
    assert code == 2 and "gpu-report.md: is a folder" in error
    code, error = error_of(["--cpu", "--out", str(tmp_path / "file" / "out")], capsys)
    assert code == 2 and error.count("\n") == 1


@pytest.mark.parametrize("name", ["gpu-report.md", "gpu-report.json", "gpu-report.log"])
def test_a_file_of_somebody_elses_is_kept_and_no_stage_begins(tmp_path, capsys, name):
    (tmp_path / name).write_text("notes")
    code, error = error_of(["--cpu", "--out", str(tmp_path)], capsys)
    assert code == 2 and f"{name}: the file that is there is not" in error
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "notes"


@pytest.mark.slow
def test_a_dry_run_from_another_folder_checks_a_net_on_the_cpu(tmp_path, root):
    env = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": str(tmp_path / "absent")}
    found = subprocess.run(
        [sys.executable, root / "tools" / "gpu_report.py", "--cpu", "--shrink", "8",
         "--minutes", "2", "--stages", "check", "--out", "out"],
        cwd=tmp_path, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.splitlines()[-1] == os.path.join("out", "gpu-report.md")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    data = json.loads((tmp_path / "out" / "gpu-report.json").read_text())
    (stage,) = data["stages"]
    assert stage["state"] == "done" and data["dry_run"]
    assert data["machine"]["PyTorch"] and data["machine"]["device"] == "CPU"
    text = (tmp_path / "out" / "gpu-report.md").read_text()
    assert "**Dry run: it shows" in text and "Sides: both the CPU" in text


def test_the_runner_does_without_pytorch(root):
    """A stage's module is imported to render the report; a crash in CUDA must not reach that."""
    names = [stage.name for stage in STAGES]
    code = (
        "import sys; from tools.gpu.stage import module_of; import tools.gpu_report\n"
        f"[module_of(name) for name in {names}]\n"
        "sys.exit(' '.join({'torch', 'caffe'} & set(sys.modules)) or None)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(("gpu", "count"), [(0, 0), (1, 1), (-1, 2)])
def test_a_gpu_beyond_those_that_pytorch_sees_is_refused(gpu, count):
    with pytest.raises(cli.UserError, match=f"GPU {gpu}: there is no such GPU"):
        machine.refuse_without(gpu, count)


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_runs_it_with_the_given_python_and_installs_nothing(root):
    words = ["PYTHON=python9", "MINUTES=3", "OUT=some where", "DATA=pack"]
    found = subprocess.run(
        ["make", "-n", "--no-print-directory", "gpu-report", *words],
        cwd=root,
        capture_output=True,
        text=True,
    )
    said = found.stdout[found.stdout.index("python9") :].replace("\\\n", " ").split()
    wanted = 'python9 -m tools.gpu_report --minutes 3 --out "some where" --data "pack"'
    assert said == wanted.split(), found.stderr


def test_the_pack_is_what_was_given_or_lies_in_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_report, "ROOT", tmp_path)
    assert gpu_report.pack_folder(None) is None
    (tmp_path / ".gpu-pack").mkdir()
    assert gpu_report.pack_folder(None) == str(tmp_path / ".gpu-pack")
    monkeypatch.chdir(tmp_path)
    assert gpu_report.pack_folder(".gpu-pack") == str(tmp_path / ".gpu-pack")
