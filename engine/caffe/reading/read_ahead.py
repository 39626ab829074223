"""Reading ahead: a thread that makes batches before they are asked for, a few and no more."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque

import torch

from ..compute import device, transfers
from ..errors import Error


class _Shared:
    """What the reading thread and the net have in common."""

    def __init__(self, depth: int):
        self.depth = depth
        self.ready: deque = deque()
        self.stopped = False
        self._changed, self._process = threading.Condition(), os.getpid()

    @property
    def changed(self) -> threading.Condition:
        """Guards all this; another one in a forked process, whose thread is gone and may have
        held the first."""
        if self._process != os.getpid():
            self._changed, self._process = threading.Condition(), os.getpid()
        return self._changed

    def put(self, item) -> bool:
        """Wait for room and add `item`; False once nobody wants it any more."""
        with self.changed:
            self.changed.wait_for(lambda: self.stopped or len(self.ready) < self.depth)
            if not self.stopped:
                self.ready.append(item)
                self.changed.notify_all()
            return not self.stopped


def _pinned(arrays) -> list[torch.Tensor]:
    """The arrays as tensors; in memory that a GPU reads by itself, where there is one."""
    tensors = [torch.from_numpy(array) for array in arrays]
    where = device.current()
    if where.type == "cuda":
        tensors = [transfers.stage(tensor, where) for tensor in tensors]
    return tensors


def _read(batches, shared: _Shared) -> None:
    try:
        for arrays, state in batches:
            if not shared.put((_pinned(arrays), state)):
                return
    except MemoryError:
        shared.put(Error("the memory is full; a smaller batch_size or prefetch takes less"))
    except BaseException as error:  # it belongs to whoever asks for the batch
        shared.put(error)


def _stop(reference: weakref.ref, thread: threading.Thread) -> None:
    shared = reference()
    if shared is not None:
        with shared.changed:
            shared.stopped = True
            shared.ready.clear()
            shared.changed.notify_all()
    if thread is not threading.current_thread():
        thread.join(10)


class ReadAhead:
    """Takes (arrays, state) from the generator `batches` in a thread of its own, and keeps up to
    `depth` of them ready. The thread ends with this object, with `close`, and with the program.

    `batches` must not hold on to this object or to whatever does."""

    def __init__(self, batches, depth: int):
        self._shared = _Shared(depth)
        self._thread = threading.Thread(
            target=_read, args=(batches, self._shared), daemon=True, name="caffe read ahead"
        )
        self._thread.start()
        # Weak: an error that waits there knows, by its traceback, the net that asked for it.
        self.close = weakref.finalize(self, _stop, weakref.ref(self._shared), self._thread)

    def next(self) -> tuple[list[torch.Tensor], dict]:
        """The next batch and the state after it. What went wrong in the thread is raised here,
        in this call and all further ones."""
        shared = self._shared
        with shared.changed:
            while not shared.ready:
                if not self._thread.is_alive():
                    raise Error("the thread that reads ahead is gone: it does not outlive a fork")
                shared.changed.wait(1)
            if isinstance(shared.ready[0], BaseException):
                raise shared.ready[0]
            item = shared.ready.popleft()
            shared.changed.notify_all()
            return item
