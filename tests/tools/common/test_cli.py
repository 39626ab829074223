from __future__ import annotations

import argparse
import errno
import io
import os
import re
import subprocess
import sys
import warnings

import pytest

from tools.common import cli, files, written
from tools.common.progress import Progress, duration, progress


def outcome(capsys, error):
    """(exit code, stderr) of a script whose main raises `error`."""

    def main(argv):
        raise error

    with pytest.raises(SystemExit) as caught:
        cli.run(main, [])
    return caught.value.code, capsys.readouterr().err


class OwnCode(ValueError):
    exit_code = 2


@pytest.mark.parametrize(
    "error, code, line",
    [
        (cli.UserError("net.prototxt: no blob\n  'x'"), 2, "error: net.prototxt: no blob 'x'\n"),
        (OwnCode("a.jpg: cut off"), 2, "error: a.jpg: cut off\n"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "w.h5"),
            2,
            "error: w.h5: No such file or directory\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "s.caffemodel"),
            1,
            "error: s.caffemodel: No space left on device\n",
        ),
        (MemoryError(), 1, "error: out of memory\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(capsys, error, code, line):
    assert outcome(capsys, error) == (code, line)


def test_an_error_that_nobody_foresaw_names_its_kind_and_place(capsys):
    code, line = outcome(capsys, RuntimeError("odd"))
    assert code == 1
    assert re.fullmatch(
        r"error: RuntimeError: odd \(\S+test_cli.py:\d+; TRACEBACK=1 shows more\)\n", line
    )


def test_bugs_keep_their_traceback():
    with pytest.raises(KeyError):
        cli.run(lambda argv: {}["x"], [])


def test_traceback_is_shown_when_asked_for(monkeypatch):
    def main(argv):
        raise cli.UserError("x")

    monkeypatch.setenv("TRACEBACK", "1")
    with pytest.raises(cli.UserError):
        cli.run(main, [])


@pytest.mark.parametrize("result, code", [(None, 0), (0, 0), (1, 1)])
def test_result_of_main_is_the_exit_code(result, code):
    with pytest.raises(SystemExit) as caught:
        cli.run(lambda argv: result, [])
    assert caught.value.code == code


def test_a_reader_that_goes_away_leaves_no_message(root):
    code = (
        "from tools.common.cli import run\n"
        "def main(argv):\n"
        "    for i in range(100000): print(i)\n"
        "run(main)\n"
    )
    # A file descriptor whose reading end is closed already, as `| head` leaves it.
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=write,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def arguments(*argv):
    parser = argparse.ArgumentParser()
    cli.add_device_arguments(parser)
    return parser.parse_args(argv)


def test_gpu_and_cpu_exclude_each_other():
    with pytest.raises(SystemExit) as caught:
        arguments("--gpu", "0", "--cpu")
    assert caught.value.code == 2


def test_cpu_is_taken_when_asked_for():
    assert cli.select_device(arguments("--cpu")) == "CPU"


@pytest.mark.parametrize("number", ["-1", "999"])
def test_gpu_that_is_not_there_is_refused(number):
    with pytest.raises(Exception) as caught:
        cli.select_device(arguments("--gpu", number))
    assert cli.exit_code(caught.value) == 2
    assert "\n" not in cli.error_line(caught.value)
    assert number in str(caught.value)


TROUBLE = "GPU 0 (GTX 1060) has compute capability 6.1, for which PyTorch has no code"


@pytest.mark.parametrize("there", [0, 1])
def test_a_gpu_that_nobody_asked_for_and_that_cannot_be_used_is_left_with_a_warning(
    monkeypatch, capsys, there
):
    import caffe

    monkeypatch.setattr(caffe.engine, "cuda_device_count", lambda: there)
    monkeypatch.setattr(caffe.engine, "gpu_trouble", lambda number=0: TROUBLE)
    assert cli.select_device(arguments()) == "CPU"
    assert capsys.readouterr().err == f"warning: {TROUBLE}; running on the CPU\n"
    assert cli.select_device(arguments("--cpu")) == "CPU"
    assert capsys.readouterr().err == ""


def test_a_gpu_that_is_out_of_memory_is_one_line_with_a_remedy(capsys):
    import caffe

    assert caffe.engine
    code, line = outcome(capsys, RuntimeError("CUDA error: out of memory"))
    assert code == 1
    assert line.startswith("error: the GPU is out of memory: take smaller images (a crop)")
    assert line.count("\n") == 1 and "TRACEBACK" not in line


def test_progress_in_a_pipe_is_plain_lines_with_rate_and_total():
    out = io.StringIO()
    assert list(progress(range(50), "reading", "files", file=out)) == list(range(50))
    lines = out.getvalue().splitlines()
    assert lines and len(lines) <= 2
    assert lines[-1].startswith("reading 50/50 files") and "/s" in lines[-1]
    assert "\r" not in out.getvalue()


def test_progress_tells_the_time_left():
    bar = Progress(100, "x", start=50, file=io.StringIO())
    bar.count = 60
    assert "0:08 left" in bar.line(bar.began + 2.0)


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (61.4, "1:01"), (3725, "1:02:05")])
def test_durations_read_as_clock_times(seconds, text):
    assert duration(seconds) == text


def test_atomic_write_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as caught:
        files.write(path, "new", written.ANY)
    assert cli.error_line(caught.value) == f"{path}: No space left on device"
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.json"]


def test_targets_are_checked_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(cli.UserError, match="is a folder"):
        files.check_target(str(tmp_path), written.ANY)
    with pytest.raises(cli.UserError, match="is a file; name a folder"):
        files.make_folder(str(tmp_path / "file"))
    with pytest.raises(cli.UserError, match="below: this folder cannot be made"):
        files.make_folder(str(tmp_path / "file" / "below"))


def test_a_target_that_is_no_regular_file_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "link", tmp_path / "pipe", os.devnull):
        with pytest.raises(cli.UserError, match="is no regular file; give another name"):
            files.check_target(str(path), written.ANY)
        with pytest.raises(cli.UserError, match="is no regular file; give another name"):
            files.write(str(path), "x", written.ANY)
    assert not os.path.isfile(os.devnull)


def test_processors_are_those_that_this_process_may_use(monkeypatch):
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8})
        assert cli.processors() == 3
        monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cli.processors() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cli.processors() == 1


def test_what_is_printed_steers_no_terminal(capsys):
    def main(argv):
        print("a\x1b[2Jb\u202ec", "1\t2\nnext", sep=": ")

    with pytest.raises(SystemExit):
        cli.run(main, [])
    assert capsys.readouterr().out == "a\\x1b[2Jb\\u202ec: 1\t2\nnext\n"


def test_a_librarys_warning_is_one_line_without_its_place(capsys):
    def main(argv):
        warnings.warn("Glyph 27 (\x1b) is missing\nfrom the font", UserWarning, stacklevel=1)

    with pytest.raises(SystemExit) as end:
        cli.run(main, [])
    told = capsys.readouterr().err
    assert not end.value.code and told == "warning: Glyph 27 (\\x1b) is missing from the font\n"


def test_stdout_is_as_it_was_afterwards():
    before = sys.stdout
    with pytest.raises(SystemExit):
        cli.run(lambda argv: 0, [])
    assert sys.stdout is before
