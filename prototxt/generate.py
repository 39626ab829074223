"""Write the net files: train, val, deploy and solver prototxt of every task and net.

    python -m prototxt.generate                            prototxt/nets/<task>/<net>/*.prototxt
    python -m prototxt.generate --data /where/the/data/is  the same, reading data from there
    python -m prototxt.generate --own my.toml              runs/<name>/<net>/*.prototxt, task.toml

Paths in the files are relative to the folder that training is started from: the checkout.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import sys

from prototxt import build, own
from prototxt.errors import InputError
from prototxt.files import in_the_way, write_atomic
from prototxt.opening import read_regular
from prototxt.tasks import TASKS
from prototxt.terminal import visible

NETS_FOLDER = "prototxt/nets"
HEAD = 4096
"""Bytes of a line that are looked at."""


def task_files(task_names=None, nets=None, out=NETS_FOLDER, data="data"):
    """{path: text} for the built-in tasks; paths are relative to the repository's root."""
    made = {}
    for task in TASKS.values():
        for net in task.nets:
            if task.name in (task_names or TASKS) and net in (nets or task.nets):
                folder = posixpath.join(out, task.name, net)
                prefix = f"runs/{task.name}/{net}/train"
                for name, text in build.files(task, net, folder, prefix, data).items():
                    made[posixpath.join(folder, name)] = text
    return made


def own_files(toml, nets=None, out=None, root=None):
    """{path: text} for a user's TOML; snapshots go beside the nets, and a copy of the TOML, which
    tells other tools the names of the classes. Raises InputError."""
    task, copy = own.load(toml, root), own.copy_text(toml)
    made_by = f"Made from {os.path.basename(toml)} by `python -m prototxt.generate --own`."
    made = {}
    for net in nets or task.nets:
        folder = posixpath.join(out or f"runs/{task.name}", net)
        prefix = posixpath.join(folder, "train")
        files = build.files(task, net, folder, prefix, "", made_by, named=True)
        for name, text in {**files, own.COPY: copy}.items():
            made[posixpath.join(folder, name)] = text
    return made


def write(made):
    """Write {path: text}, each file whole or not at all; one that already is so stays.

    Raises InputError, with nothing written, where a file is there that no generator has written.
    """
    changed = {path: text.encode() for path, text in made.items() if not _holds(path, text)}
    for path in changed:
        problem = in_the_way(path, "a generated one", _is_generated)
        if problem:
            raise InputError(f"{path}: {problem}")
    for path, data in changed.items():
        write_atomic(path, data)


def _holds(path, text):
    if not os.path.isfile(path):
        return False
    return read_regular(path) == text.encode()


def _is_generated(file):
    """Whether a file begins with the comments of a generated one."""
    first, second = file.readline(HEAD), file.readline(HEAD)
    made = second.startswith((b"# Made by ", b"# Made from "))
    return made or first.startswith(own.COPIED.encode())


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m prototxt.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--own", metavar="TOML", help="make the nets of your own data set")
    parser.add_argument("--task", action="append", choices=sorted(TASKS), help="only this task")
    parser.add_argument("--net", action="append", choices=sorted(build.NETS), help="only this net")
    parser.add_argument("--out", help=f"default: {NETS_FOLDER}, or runs/<name> with --own")
    parser.add_argument(
        "--data", help="folder that holds voc, sbd, … (default: data); with --own: your data set's"
    )
    options = parser.parse_args(arguments)
    if options.own and options.task:
        parser.error("--task chooses among the built-in tasks; leave it out with --own")
    return options


def main(arguments=None):
    """Returns the exit code: 0, 1 if a file cannot be written, 2 if the TOML is wrong."""
    options = parse(arguments)
    try:
        if options.own:
            made = own_files(options.own, options.net, options.out, options.data)
        else:
            out, data = options.out or NETS_FOLDER, options.data or "data"
            made = task_files(options.task, options.net, out, data)
        write(made)
    except InputError as err:
        print("error: " + visible(str(err)), file=sys.stderr)
        return err.exit_code
    except OSError as err:
        print("error: " + visible(f"{err.filename}: {err.strerror}"), file=sys.stderr)
        return 1
    for folder in sorted({posixpath.dirname(path) for path in made}):
        print(visible(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
