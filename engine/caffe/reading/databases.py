"""Key-value databases of Datums: LMDB and LevelDB, read in the order of their keys."""

from __future__ import annotations

import collections
import os
import threading
import weakref

from ..errors import InputError
from ..proto import caffe_pb2, kinds, not_utf8
from ..proto.files import reason
from ..proto.opening import check_regular

LMDB, LEVELDB = caffe_pb2.DataParameter.LMDB, caffe_pb2.DataParameter.LEVELDB

_lock = threading.Lock()
_shared: dict[str, tuple] = {}  # real path -> open database, how many use it
_dropped: collections.deque = collections.deque()  # real paths that one user less uses


def _acquire(path: str, opened):
    """The database at `path`, by `opened(path)` if nobody has it open: neither library opens one
    twice in a process, but the nets of a solver may well read the same one."""
    try:
        with _lock:
            made, users = _shared.get(path) or (opened(path), 0)
            _shared[path] = made, users + 1
    finally:
        _close_dropped()
    return made


def _release(path: str) -> None:
    """Never waits: it may be the garbage collector's call, in a thread that has the lock."""
    _dropped.append(path)
    _close_dropped()


def _close_dropped() -> None:
    """Close what nobody uses any more; whoever has the lock does it once the lock is free."""
    while _dropped and _lock.acquire(blocking=False):
        try:
            while _dropped:
                path = _dropped.popleft()
                made, users = _shared.pop(path)
                if users > 1:
                    _shared[path] = made, users - 1
                else:
                    made.close()
        finally:
            _lock.release()


class Database:
    """All values of a database, round and round. InputError, naming `source`, if it is none."""

    def __init__(self, source: str, backend: int):
        if not source:
            raise InputError("data_param.source is not given: the database's folder")
        self.source = source = not_utf8.path(source)
        if not os.path.isdir(source):
            if not os.path.exists(source):
                raise InputError(f"cannot read {source}: no such folder")
            wrong = kinds.file_misfit(source, "the folder of a database")
            raise InputError(f"cannot read {source}: {wrong or 'it is no folder'}")
        inside = os.listdir(source)
        if backend != LMDB and "data.mdb" in inside:
            raise InputError(f"{source} is an LMDB: say backend: LMDB")
        if backend == LMDB and "CURRENT" in inside:
            raise InputError(f"{source} is a LevelDB: say backend: LEVELDB")
        opened, self._once = (_open_lmdb, _lmdb) if backend == LMDB else (_open_leveldb, _leveldb)
        path = os.path.realpath(source)
        self._database = _acquire(path, opened)
        self._release = weakref.finalize(self, _release, path)

    def walk(self, start: int):
        """(key, value as a bytes-like object that lasts until the next one) without end, after
        the first `start` of them."""
        while True:
            found = 0
            try:
                for pair in self._once(self._database):
                    found += 1
                    if start > 0:
                        start -= 1
                    else:
                        yield pair
            except InputError:
                raise
            except Exception as error:  # the libraries' own kinds
                raise InputError(f"{self.source}: damaged: {reason(error)}") from None
            if not found:
                raise InputError(f"{self.source}: the database is empty")
            start %= found


def _wrong_inside(path: str, name: str, kind: str) -> str:
    """What is wrong with the file `name` of a database, where it is plainly another kind of file,
    or is not there; else ""."""
    file = os.path.join(path, name)
    if not os.path.exists(file):
        return f"there is no {name} in it"
    wrong = kinds.file_misfit(file, f"a database's {name}", kind)
    return f"{name}: {wrong}" if wrong else ""


def _check_files(path: str) -> None:
    """Raise InputError where what lies in the folder of a database is anything but files and
    folders: the libraries would wait for a FIFO."""
    with os.scandir(path) as entries:
        for entry in entries:
            if os.path.exists(entry.path) and not entry.is_dir():
                check_regular(entry.path)


def _open_lmdb(path: str):
    try:
        import lmdb
    except ImportError:
        raise InputError("LMDB databases need the package lmdb: pip install lmdb") from None
    try:
        _check_files(path)
        # The lock file is for those who read while somebody writes; the folder may be read-only.
        env = lmdb.open(path, readonly=True, lock=False, create=False, max_readers=1)
        info, page = env.info(), env.stat()["psize"]
        needed = (info["last_pgno"] + 1) * page
        size = os.path.getsize(os.path.join(path, "data.mdb"))
    except (lmdb.Error, OSError) as error:
        problem = _wrong_inside(path, "data.mdb", kinds.LMDB) or reason(error)
        raise InputError(f"cannot read {path} as LMDB: {problem}") from None
    if size < needed:  # its pages are mapped: touching one that is not there ends the process
        env.close()
        raise InputError(f"{path}: data.mdb is truncated: {size} bytes of {needed}")
    return env


def _lmdb(env):
    with env.begin(buffers=True) as transaction, transaction.cursor() as cursor:
        for key, value in cursor:
            yield bytes(key), value


def _open_leveldb(path: str):
    try:
        import plyvel
    except ImportError:
        raise InputError(
            f"cannot read {path}: LevelDB databases need the package plyvel: pip install plyvel; "
            "for LMDB say backend: LMDB"
        ) from None
    try:
        _check_files(path)
        return plyvel.DB(path, create_if_missing=False, max_open_files=100)
    except (plyvel.Error, OSError) as error:
        problem = _wrong_inside(path, "CURRENT", kinds.TEXT) or reason(error)
        raise InputError(f"cannot read {path} as LevelDB: {problem}") from None


def _leveldb(database):
    with database.iterator(verify_checksums=True, fill_cache=False) as iterator:
        yield from iterator
