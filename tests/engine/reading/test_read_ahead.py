"""The thread that reads ahead: how much, in which order, and how it ends."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from caffe.errors import Error, InputError
from caffe.reading.read_ahead import ReadAhead
from tests.helpers import data_files as files

ENGINE = Path(__file__).resolve().parents[3] / "engine"


def numbers(made=None, end=None):
    for i in itertools.count():
        if i == end:
            raise InputError(f"no batch {i}")
        if made is not None:
            made.append(i)
        yield [np.full(2, i, np.float32)], {"items": i}


def until(condition):
    """Wait for what another thread does."""
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


def threads():
    return [t for t in threading.enumerate() if t.name == "caffe read ahead"]


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_batches_are_ready_and_one_is_on_its_way(depth):
    made = []
    ahead = ReadAhead(numbers(made), depth)
    assert until(lambda: len(made) == depth + 1)
    time.sleep(0.05)
    assert len(made) == depth + 1
    ahead.next()
    assert until(lambda: len(made) == depth + 2)
    ahead.close()


def test_batches_come_in_order_with_their_state():
    ahead = ReadAhead(numbers(), 2)
    for i in range(20):
        (tensor,), state = ahead.next()
        assert tensor.tolist() == [i, i]
        assert state == {"items": i}
    ahead.close()


def test_an_error_comes_after_the_batches_before_it_and_every_time():
    ahead = ReadAhead(numbers(end=3), 2)
    for _ in range(3):
        ahead.next()
    for _ in range(2):
        with pytest.raises(InputError, match="no batch 3"):
            ahead.next()
    assert until(lambda: not threads())


def test_the_thread_ends_when_nobody_asks_any_more():
    ahead = ReadAhead(numbers(), 2)
    ahead.next()
    assert len(threads()) == 1
    del ahead
    gc.collect()
    assert until(lambda: not threads())


def test_a_net_that_is_dropped_ends_its_thread(make, tmp_path):
    source = files.write_pictures(tmp_path, [files.pixels(0, 5, 5)])
    net = make(
        'layer { name: "d" type: "ImageData" top: "x" top: "y" '
        f'image_data_param {{ source: "{source}" }} }}'
    )
    assert not threads()  # a net that is only looked at reads nothing ahead
    net.forward()
    assert len(threads()) == 1
    del net
    gc.collect()
    assert until(lambda: not threads())


@pytest.mark.slow
def test_a_program_ends_while_the_thread_waits(tmp_path):
    source = files.write_pictures(tmp_path, [files.pixels(0, 5, 5)])
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "d" type: "ImageData" top: "x" top: "y" '
        f'image_data_param {{ source: "{source}" }} }}'
    )
    code = "import caffe; n = caffe.Net('net.prototxt', 1); n.forward(); print(n.blobs['y'].data)"
    env = dict(os.environ, PYTHONPATH=str(ENGINE), OMP_NUM_THREADS="1")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"[0.]\n", b"")


def test_a_fork_is_told_that_the_thread_is_gone():
    ahead = ReadAhead(numbers(), 1)
    ahead.next()
    assert until(lambda: len(ahead._shared.ready) == 1)
    child = os.fork()
    if child == 0:
        try:
            ahead.next()  # was read before the fork
            ahead.next()
        except Error:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    ahead.close()


def test_a_net_whose_pictures_were_broken_leaves_nothing_behind(make, tmp_path):
    source = files.write_pictures(tmp_path, [files.pixels(i, 5, 5) for i in range(2)])
    (tmp_path / "1.png").unlink()
    net = make(
        'layer { name: "d" type: "ImageData" top: "x" top: "y" '
        f'image_data_param {{ source: "{source}" batch_size: 2 }} }}'
    )
    with pytest.raises(InputError, match=r"1\.png"):
        net.forward()
    reference = weakref.ref(net)
    del net
    gc.collect()
    assert reference() is None


def test_a_fork_while_the_thread_is_at_work_does_not_hang():
    ahead = ReadAhead(numbers(), 1)
    ahead.next()
    assert until(lambda: len(ahead._shared.ready) == 1)
    held, done = threading.Event(), threading.Event()

    def hold():  # as the thread does for a moment with each batch
        with ahead._shared.changed:
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            ahead.next(), ahead.next()
        except Error:
            ahead.close()
            os._exit(7)
        os._exit(0)
    done.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    ahead.close()
