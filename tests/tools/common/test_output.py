"""Output that goes away while work goes on."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from tests.helpers.processes import environment
from tools.common.output import Expendable


class Gone(io.StringIO):
    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


def test_what_cannot_be_written_is_dropped():
    for stream in (Gone(), None):
        lossy = Expendable(stream)
        assert lossy.write("four") == 4
        lossy.flush()
        assert not lossy.isatty()


def test_what_can_be_written_is(capsys):
    print("a line", file=Expendable(sys.stdout))
    assert capsys.readouterr().out == "a line\n"


WORK = """
import sys
from tools.common.cli import run
from tools.common.output import expendable_output
def main(argv):
    with expendable_output():
        for number in range(9000):
            print("a line of text", flush=True)
            print("and one here", file=sys.stderr)
        open("done", "w").close()
    return int(argv[0])
run(main)
"""


@pytest.mark.parametrize("code", [0, 130])
@pytest.mark.parametrize("tail", ["2>&1 | head -1", "> /dev/full 2>&1", ">&- 2>&-"])
def test_work_goes_on_without_its_output_and_ends_with_its_code(root, tmp_path, tail, code):
    script = f'"{sys.executable}" -c "$WORK" {code} {tail}; exit ${{PIPESTATUS[0]}}'
    run = subprocess.run(
        ["bash", "-c", script], env=environment(root) | {"WORK": WORK}, cwd=tmp_path
    )
    assert run.returncode == code
    assert (tmp_path / "done").exists()


def test_an_error_that_nobody_can_read_keeps_its_exit_code(root):
    read, write = os.pipe()
    os.close(read)
    code = "from tools.common.cli import run, UserError\ndef f(a): raise UserError('x')\nrun(f)"
    run = subprocess.run([sys.executable, "-c", code], env=environment(root), stderr=write)
    os.close(write)
    assert run.returncode == 2
