"""The `caffe` tool of BVLC Caffe, and its three `upgrade_*` tools.

usage: python -m caffe <command> <flags>      or, after pip install: caffe <command> <flags>

commands:
  train           train a net, or finetune one
  test            score a net
  time            measure a net's layers
  device_query    show the GPUs
  upgrade_net_proto_text OLD NEW       a net's prototxt in the current format
  upgrade_net_proto_binary OLD NEW     a caffemodel in the current format
  upgrade_solver_proto_text OLD NEW    a solver's prototxt in the current format

flags, with one dash or two, as -flag=value or -flag value:
  -solver FILE          train: the solver's prototxt
  -snapshot FILE        train: resume from this solverstate
  -weights FILE[,FILE]  train: finetune from these caffemodels; test: the caffemodel to score
  -model FILE           test, time: the net's prototxt
  -iterations N         test, time: how many (default 50)
  -gpu N[,N]            the GPUs to use, or all; train uses several (default: the CPU, or what
                        the solver says)
  -phase TRAIN|TEST     time: the net's phase (default TRAIN)
  -level N, -stage A,B  the net's level and stages
  -sigint_effect        train: what Ctrl-C does: stop (with a snapshot; the default), snapshot,
                        none; TERM always stops; either once more stops at once
  -sighup_effect        train: the same for the signal HUP (default snapshot)
  -deterministic        train: on GPUs, the same bits each time (slower)
  -minloglevel N        write only log lines from 0 info, 1 warning or 2 error up

The log goes to standard error in the form that Caffe's log parsers read; a log that cannot be
written ends no training. Exit codes: 0 done, 1 the work failed (a training diverged, say), 2 the
call or an input is wrong, 130 or 143 a training was stopped by Ctrl-C or TERM, with a snapshot.
TRACEBACK=1 shows where an error arose.
"""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches

from ..errors import InputError
from .error_lines import error_line, exit_code
from .flags import parse
from .output import expendable

COMMANDS = {
    "train": "train",
    "test": "score",
    "time": "benchmark",
    "device_query": "devices",
    "upgrade_net_proto_text": "upgrade",
    "upgrade_net_proto_binary": "upgrade",
    "upgrade_solver_proto_text": "upgrade",
}


def _run(argv: list[str]) -> int:
    words, flags = parse(argv)
    if flags.help or not words:
        print(__doc__.strip(), file=sys.stdout if flags.help else sys.stderr)
        return 0 if flags.help else 2
    if words[0] not in COMMANDS:
        near = get_close_matches(words[0], COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"commands: {', '.join(COMMANDS)}"
        raise InputError(f"there is no command '{words[0]}'; {hint}")
    if flags.minloglevel is not None:
        from ..log import set_min_level

        set_min_level(flags.minloglevel)
    from importlib import import_module

    module = import_module(f"{__name__}.{COMMANDS[words[0]]}")
    flags.warn_of_unused(words[0], module.FLAGS)
    if COMMANDS[words[0]] == "upgrade":
        return module.main(words[0], words[1:])
    if words[1:]:
        raise InputError(f"'{words[1]}' is not a flag; flags begin with a dash")
    return module.main(flags) or 0


def main(argv: list[str] | None = None) -> None:
    """Run the command of `argv` and exit with its code; errors are one line on stderr."""
    argv = sys.argv[1:] if argv is None else argv
    if os.environ.get("TRACEBACK", "") not in ("", "0"):
        sys.exit(_run(argv))
    with expendable():
        try:
            code = _run(argv)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr, flush=True)
            code = 130
        except Exception as error:
            print("error: " + error_line(error), file=sys.stderr, flush=True)
            code = exit_code(error)
    sys.exit(code)
