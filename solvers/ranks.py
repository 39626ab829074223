"""A training in several processes: what each of them does otherwise than one that is alone."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile

from google.protobuf import text_format

import caffe
from tools.common import ranks as common
from tools.common.cli import UserError, check_device


def launched(args, script, argv):
    """The exit code of the same command in a process for each of `args.gpus`, where they are
    several and torchrun has not started this one; else None."""
    if len(args.gpus) < 2 or common.several():
        return None
    engine = getattr(caffe, "engine", None)
    if engine is None:
        raise UserError("--gpu: several GPUs work with this toolkit's engine only; name one")
    for number in args.gpus:
        check_device(argparse.Namespace(gpu=number))
    return engine.launch(len(args.gpus), [os.path.abspath(script), *argv])


@contextlib.contextmanager
def solver_file(param, ranks):
    """Context: the path of a file with `param` as rank `ranks.rank`, which is not 0, is to have it:
    it tests, shows and saves nothing."""
    mine = type(param).FromString(param.SerializeToString())
    caffe.engine.only_gradients(mine)
    with tempfile.TemporaryDirectory(prefix=f"rank-{ranks.rank}-") as folder:
        path = os.path.join(folder, "solver.prototxt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text_format.MessageToString(mine))
        yield path


def stopped(ranks, requests):
    """The signal that ends the training here, 0 where none does: of several processes all end at
    the same iteration."""
    return requests.stop if ranks is None else ranks.stopped


def report_stop(ranks, requests, solver, param, options):
    """Say where the training was stopped; the exit code."""
    why = stopped(ranks, requests)
    gone = "torchrun is gone: " if ranks is not None and why == ranks.ORPHANED else ""
    print(
        f"{gone}stopped at iteration {solver.iter} of {param.max_iter}, with a snapshot; resume "
        f"with --resume auto{options}",
        file=sys.stderr,
    )
    return 1 if gone else 128 + why
