"""A file to which a training adds a line of JSON now and then."""

from __future__ import annotations

import errno
import json
import os

from tools.common.cli import warn
from tools.common.files import write


class Lines:
    """The file `path`, one of those `written`, with the entries `kept` of before, to which entries
    are added. OSError or UserError where it cannot be written.

    An entry is complete in the file when `add` returns. Where one cannot be written, a warning says
    so once, and nothing is added any more: half an entry can only be the last."""

    def __init__(self, path, kept, written):
        text = "".join(f"{json.dumps(entry)}\n" for entry in kept)
        if not os.path.isfile(path) or os.path.getsize(path) != len(text):  # JSON is ASCII
            write(path, text, written)
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    @property
    def open(self):
        """Whether entries are still added."""
        return self._file is not None

    def add(self, entry):
        if self._file is None:
            return
        line = f"{json.dumps(entry)}\n".encode()
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.close()
            warn(f"{self.path}: nothing more is written there ({error.strerror})")

    def close(self):
        if self._file is not None:
            os.close(self._file)
            self._file = None
