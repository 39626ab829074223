"""A pytest plugin for the stage `conformance`: what became of each test, as lines of JSON.

`pytest -p tools.gpu.outcomes` appends to the file that GPU_REPORT_OUTCOMES names

    {"broken": file, "error": its text}     where its tests cannot be collected
    {"collected": how many tests}
    {"begin": test}
    {"end": test, "outcome": passed, failed or skipped, "seconds": …, "error": its text}

to which the comparisons of the test are added by itself (CONFORMANCE_GPU_REPORT). Tests that ended
there in an earlier run are left out. After an error of the GPU, which every later call of the
process would meet again, the run ends; it is for the caller to start the next.
"""

from __future__ import annotations

import json
import os
from typing import Any

FILE = "GPU_REPORT_OUTCOMES"
LOST = ("CUDA error", "CUDNN_STATUS", "CUBLAS_STATUS")
"""In the text of an error after which a process has no use for the GPU any more."""
TEXT = 600  # characters of an error's text
LINES = 6  # of one that is a traceback

_state: dict[str, Any] = {"session": None, "reports": {}}


def read(path, offset=0):
    """([objects], offset) of the whole lines from `offset` on of a file of JSON lines."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], offset + len(whole)


def line_of(what):
    """A line of the file, as bytes."""
    return (json.dumps(what) + "\n").encode()


def tell(**what):
    with open(os.environ[FILE], "ab") as file:
        file.write(line_of(what))


def pytest_sessionstart(session):
    _state["session"] = session


def pytest_collectreport(report):
    if report.failed:
        tell(broken=report.nodeid, error=error_of(report))


def pytest_collection_modifyitems(config, items):
    done = {line["end"] for line in read(os.environ[FILE])[0] if "end" in line}
    left_out = [item for item in items if item.nodeid in done]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.nodeid not in done]


def pytest_collection_finish(session):
    tell(collected=len(session.items))


def pytest_runtest_logstart(nodeid, location):
    _state["reports"] = {}
    tell(begin=nodeid)


def pytest_runtest_logreport(report):
    """Once a test is torn down: the first of its three parts that did not pass, or its call."""
    parts = _state["reports"]
    parts[report.when] = report
    if report.when != "teardown":
        return
    told = next((p for p in parts.values() if not p.passed), parts.get("call", report))
    error = None if told.passed else error_of(told)
    seconds = sum(part.duration for part in parts.values())
    tell(end=report.nodeid, outcome=told.outcome, seconds=round(seconds, 2), error=error)
    if told.failed and any(word in told.longreprtext for word in LOST):
        _state["session"].shouldstop = "the GPU is lost to this process"


def error_of(report):
    """Why a test failed or was skipped, cut to TEXT characters."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")[:TEXT]
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash:
        return crash.message[:TEXT]
    return "\n".join(report.longreprtext.splitlines()[-LINES:])
