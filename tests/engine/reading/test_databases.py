"""Databases that several readers share: open as long as one of them is there, and no longer."""

from __future__ import annotations

import gc
import os
import threading

import pytest

from caffe.reading import databases
from caffe.reading.databases import LMDB, Database
from tests.helpers import data_files as files


@pytest.fixture
def two(tmp_path):
    """The folders of two databases, whose only values are b"0" and b"1"."""
    gc.collect()
    return [files.write_lmdb(tmp_path / str(i), [b"%d" % i]) for i in range(2)]


def value(database):
    return bytes(next(database.walk(0))[1])


def in_a_ring(source):
    """A database that only the garbage collector takes away."""
    ring = [Database(source, LMDB)]
    ring.append(ring)


def opened(source):
    """A database that is opened in a thread, so that waiting for ever is noticed."""
    made = []
    thread = threading.Thread(target=lambda: made.append(Database(source, LMDB)), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return made[0]


def test_a_database_is_open_as_long_as_somebody_reads_it(two):
    first, second = Database(two[0], LMDB), Database(two[0] + "/.", LMDB)
    assert files.open_databases(two[0]) == [os.path.realpath(two[0])]
    del first
    assert value(second) == b"0"
    del second
    assert not files.open_databases(two[0])


def test_one_may_be_collected_while_another_is_opened(two, monkeypatch):
    open_lmdb = databases._open_lmdb

    def collect_and_open(path):
        gc.collect()
        return open_lmdb(path)

    in_a_ring(two[0])
    monkeypatch.setattr(databases, "_open_lmdb", collect_and_open)
    second = opened(two[1])
    assert value(second) == b"1"
    assert files.open_databases(two[1]) == [os.path.realpath(two[1])]
    assert not files.open_databases(two[0])


def test_one_may_be_collected_while_the_same_is_taken_again(two, monkeypatch):
    class Collecting(dict):
        def get(self, key):
            found = super().get(key)
            gc.collect()
            return found

    monkeypatch.setattr(databases, "_shared", Collecting(databases._shared))
    in_a_ring(two[0])
    again = opened(two[0])
    assert value(again) == b"0"
    del again
    assert not files.open_databases(two[0])
