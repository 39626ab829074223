"""Runs scenarios under whichever `caffe` is importable: BVLC Caffe's or the engine's, unchanged.

Started once per engine and session by `both.py`. It reads job folders from stdin, one a line, and
answers each with one JSON line on its first stdout. Every job runs in a forked child, because
BVLC Caffe aborts the whole process on a failed check: so that costs one job, not the session.

A job folder holds `job.json` ({"scenario": name, "timeout": seconds, "args": {...}}) and perhaps
`in.npz`; the child leaves `out.npz` (arrays), `out.json` (everything else) and `log.txt`.

Python >= 3.9, NumPy >= 1.19; no test library.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback


def split_results(results):
    """A scenario's results as (arrays, other values)."""
    import numpy as np

    arrays = {k: v for k, v in results.items() if isinstance(v, np.ndarray)}
    return arrays, {k: v for k, v in results.items() if k not in arrays}


def run_job(folder):
    """Run the job in `folder` in this process; its results go to files there."""
    import numpy as np

    from tests.conformance import scenarios

    with open(os.path.join(folder, "job.json")) as file:
        job = json.load(file)
    signal.alarm(job["timeout"])
    arrays = {}
    if os.path.exists(os.path.join(folder, "in.npz")):
        with np.load(os.path.join(folder, "in.npz")) as data:
            arrays = {k: data[k] for k in data.files}
    os.chdir(folder)
    scenario = scenarios.find(job["scenario"])
    out_arrays, out = split_results(scenario(job["args"], arrays))
    np.savez(os.path.join(folder, "out.npz"), **out_arrays)
    with open(os.path.join(folder, "out.json"), "w") as file:
        json.dump(out, file)


def run_forked(folder):
    """Run the job in a child: {"code": exit code} or {"signal": number}."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            log = os.open(os.path.join(folder, "log.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            run_job(folder)
            code = 0
        except BaseException as error:
            print(f"exception: {type(error).__name__}: {error}", file=sys.stderr)
            traceback.print_exc()
            code = getattr(error, "exit_code", 1)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    return {"code": os.WEXITSTATUS(status)}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints to stdout must not mix with the answers
    import caffe
    from tests.conformance import scenarios  # noqa: F401  (imported once, before the forks)

    print(json.dumps({"caffe": caffe.__file__, "version": caffe.__version__}), file=answers)
    answers.flush()
    for line in sys.stdin:
        print(json.dumps(run_forked(line.rstrip("\n"))), file=answers)
        answers.flush()


if __name__ == "__main__":
    main()
