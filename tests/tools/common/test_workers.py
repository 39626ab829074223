"""Work in several processes: what is done, what is lost with a worker, and who ends when."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.processes import environment, gone, wait_until
from tools.common import workers

_seen = []  # what `remember` was given in this process


def square(number):
    return number, number**2


def suicidal(number):
    if number in (3, 4):
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def remember(*args):
    _seen[:] = args


def recall(item):
    return item, tuple(_seen), os.getpid()


def refuse_to_begin(parent):
    if os.getpid() != parent:
        os._exit(1)


def interrupt(item):
    os.kill(os.getpid(), signal.SIGINT)
    return item


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_every_item_is_done_once(fresh, batch):
    done = list(workers.each(square, range(30), 2, fresh=fresh, batch=batch))
    assert sorted(done) == [(n, (n, n**2)) for n in range(30)]


def test_no_items_are_no_work():
    assert list(workers.each(square, [], 2)) == []


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False])
def test_each_process_is_started_before_its_work(fresh):
    done = list(workers.each(recall, "abcd", 2, remember, (1, "x"), fresh=fresh))
    assert {item for item, _ in done} == set("abcd")
    assert all(given == (1, "x") and process != os.getpid() for _, (_, given, process) in done)
    assert _seen == []


@pytest.mark.slow
@pytest.mark.parametrize("fresh, batch", [(True, 1), (False, 1), (False, 5)])
def test_an_item_that_kills_its_worker_is_named_and_the_others_are_done(fresh, batch):
    done = dict(workers.each(suicidal, range(20), 2, fresh=fresh, batch=batch))
    assert done == {n: workers.DIED if n in (3, 4) else n**2 for n in range(20)}


def test_items_that_all_kill_their_workers_are_all_named(capfd):
    assert dict(workers.each(suicidal, [3, 4], 2, fresh=False)) == dict.fromkeys(
        [3, 4], workers.DIED
    )
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False])
def test_where_no_process_comes_up_the_work_is_done_in_this_one(fresh, capfd):
    begin = functools.partial(refuse_to_begin, os.getpid())
    done = dict(workers.each(recall, range(9), 2, begin, fresh=fresh))
    assert sorted(done) == list(range(9))
    assert {process for _, _, process in done.values()} == {os.getpid()}
    (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("warning")]
    assert "no worker process comes up" in line


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False])
def test_workers_leave_ctrl_c_to_their_parent(fresh):
    assert dict(workers.each(interrupt, range(4), 2, fresh=fresh)) == {n: n for n in range(4)}


def test_what_work_raises_comes_out():
    with pytest.raises(ZeroDivisionError):
        list(workers.each(functools.partial(divmod, 1), [1, 0, 2], 2, fresh=False))


SLOW = """
import os, sys, time
from tools.common import cli, workers

if __name__ == "__mp_main__":
    open(sys.argv[1], "w").close()
    time.sleep(1)

def main(argv):
    list(workers.each(abs, [1, 2, 3], 2))

if __name__ == "__main__":
    cli.run(main)
"""


@pytest.mark.slow
def test_ctrl_c_while_workers_come_up_is_one_line(tmp_path, root):
    script, note = tmp_path / "script.py", tmp_path / "note"
    script.write_text(SLOW)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(note)], env=environment(root),
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: note.exists() or parent.poll() is not None)
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.communicate(timeout=20)[1] == "interrupted\n"
    assert parent.returncode == 130


SCRIPT = """
import os, time
from tools.common import workers

def sleep(folder):
    with open(os.path.join(folder, str(os.getpid())), "w"):
        pass
    time.sleep(600)

if __name__ == "__main__":
    import sys
    list(workers.each(sleep, [sys.argv[1]] * 3, 3, fresh=sys.argv[2] == "True"))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_when_their_parent_is_killed(tmp_path, root, number, fresh):
    script, notes = tmp_path / "script.py", tmp_path / "notes"
    script.write_text(SCRIPT)
    notes.mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(script), str(notes), str(fresh)], env=environment(root)
    )
    try:
        wait_until(lambda: len(os.listdir(notes)) == 3 or parent.poll() is not None)
        ids = [int(name) for name in os.listdir(notes)]
        assert len(ids) == 3
        parent.send_signal(number)
        assert parent.wait(20) == -number
        began = time.monotonic()
        left = [worker for worker in ids if not gone(worker, 10)]
        for worker in left:
            os.kill(worker, signal.SIGKILL)
        assert not left and time.monotonic() - began < 10
    finally:
        parent.kill()
        parent.wait()
