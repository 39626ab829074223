"""Progress of long work: a bar with rate and time left on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time

from prototxt.terminal import visible

PIPE_SECONDS = 10.0  # in a pipe: a line at least this often while there is something new to say


class Progress:
    """Count `total` steps of `what` on stderr; use as a context manager.

    `total` None means that the number of steps is not known; `start` steps are done already.
    On a terminal a bar (tqdm's where it is installed); elsewhere one line per 10 % or 10 s.
    """

    def __init__(self, total=None, what="", unit="", start=0, file=None, enabled=True):
        self.total, self.what, self.unit = total, what, unit
        self.file = sys.stderr if file is None else file
        self.enabled = enabled
        self.count = self.start = start
        self.note = ""
        self.began = self.shown_at = time.monotonic()
        self.shown_count = start
        self.width = 0
        self.tty = bool(getattr(self.file, "isatty", lambda: False)())
        self.bar = self._tqdm() if self.tty and enabled else None

    def _tqdm(self):
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        return tqdm(
            total=self.total,
            desc=self.what or None,
            unit=" " + self.unit if self.unit else "it",
            initial=self.start,
            file=self.file,
            dynamic_ncols=True,
        )

    def update(self, steps=1, note=""):
        """Count `steps` more; `note` is a short text shown behind the figures."""
        self.count += steps
        self.note = note or self.note
        if not self.enabled:
            return
        if self.bar is not None:
            if note:
                self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(steps)
            return
        now = time.monotonic()
        since = now - self.shown_at
        if self.tty:
            if since >= 0.1 or self.count == self.total:
                self._show(now)
            return
        tenth = self.total and (self.count - self.shown_count) * 10 >= self.total
        if since >= PIPE_SECONDS or (tenth and since >= 1) or self.count == self.total:
            self._show(now)

    def line(self, now=None):
        """The state in words: `what 30/346  4.1/s  1:17 left  note`."""
        now = time.monotonic() if now is None else now
        done, seconds = self.count - self.start, max(now - self.began, 1e-9)
        rate = done / seconds
        total = "" if self.total is None else f"/{self.total}"
        parts = [f"{self.what} {self.count}{total}".strip() + (f" {self.unit}" * bool(self.unit))]
        if done:
            parts.append(f"{rate:.2f}/s" if rate >= 1 else f"{1 / rate:.2f} s each")
            if self.total is not None and self.count < self.total:
                parts.append(duration((self.total - self.count) / rate) + " left")
            else:
                parts.append(duration(seconds))
        if self.note:
            parts.append(visible(self.note))
        return "  ".join(parts)

    def _show(self, now):
        text = self.line(now)
        self.shown_at, self.shown_count = now, self.count
        if self.tty:
            pad = " " * max(0, self.width - len(text))
            self.width = len(text)
            self.file.write("\r" + text + pad)
        else:
            self.file.write(text + "\n")
        self.file.flush()

    def clear(self):
        """Take the bar off the terminal until the next update."""
        if self.bar is not None:
            self.bar.clear()
        elif self.tty and self.width:
            self.file.write("\r" + " " * self.width + "\r")
            self.file.flush()

    def write(self, text, file=None):
        """Print a line (on stdout unless told) without tearing the bar."""
        self.clear()
        print(text, file=sys.stdout if file is None else file, flush=True)
        if self.bar is not None:
            self.bar.refresh()

    def close(self):
        if self.bar is not None:
            self.bar.close()
        elif self.tty and self.width:
            self.file.write("\n")
            self.file.flush()
            self.width = 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def progress(items, what="", unit="", total=None, file=None, enabled=True):
    """Iterate over `items`, showing progress; `total` defaults to len(items) where it has one."""
    if total is None:
        total = len(items) if hasattr(items, "__len__") else None
    with Progress(total, what, unit, file=file, enabled=enabled) as bar:
        for item in items:
            yield item
            bar.update()


def duration(seconds):
    """Seconds as `1:02:03` or `2:03`."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
