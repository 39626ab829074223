"""The solver's settings: the prototxt, what the command line changes in it, and checks."""

from __future__ import annotations

import contextlib
import os
import re
from difflib import get_close_matches

from google.protobuf import text_format

import caffe
import prototxt.text
from caffe.proto import caffe_pb2
from prototxt.opening import read_regular
from tools.common import nets
from tools.common.cli import UserError, warn
from tools.common.files import check_target, write
from tools.common.inputs import check_input
from tools.common.written import LONGEST, Written


def read_solver(path, changes=()):
    """The SolverParameter in `path` with `field=value` changes applied.

    A changed field replaces what the file says; a repeated one is replaced as a whole, its values
    separated by commas.
    """
    return change(prototxt.text.read(path, caffe_pb2.SolverParameter()), path, changes)


def change(param, path, changes):
    """`param`, which is or will be the file `path`, with `field=value` changes applied in place."""
    for one in changes:
        field, equals, value = one.partition("=")
        if not equals or not field.strip():
            raise UserError(f"--set {one}: write it as field=value")
        _change(param, field.strip(), value.strip())
    for field in ("train_net", "net", "snapshot_prefix"):
        if param.HasField(field):
            setattr(param, field, _at_home(getattr(param, field)))
    param.test_net[:] = map(_at_home, param.test_net)
    if param.snapshot_prefix.endswith("/") or os.path.isdir(param.snapshot_prefix):
        # Caffe then names snapshots after the solver's file; it is to be this one, not the copy
        # that in_force makes.
        name = os.path.splitext(os.path.basename(path))[0]
        param.snapshot_prefix = os.path.join(param.snapshot_prefix, name)
    return param


def _at_home(path):
    """A path of a prototxt, the home folder in place of a leading `~/`, in every Caffe."""
    there = path.startswith("~/") and not os.path.lexists("~")
    return os.path.expanduser(path) if there else path


def _change(param, field, value):
    known = param.DESCRIPTOR.fields_by_name
    if field not in known:
        near = get_close_matches(field, known, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UserError(f"--set {field}={value}: a solver has no field '{field}'{hint}")
    descriptor = known[field]
    if descriptor.message_type is not None:
        raise UserError(f"--set {field}: has fields of its own; change it in the solver's file")
    quoted = descriptor.cpp_type == descriptor.CPPTYPE_STRING
    values = [value]
    if hasattr(getattr(param, field), "append"):  # a repeated field
        values = [part.strip() for part in value.split(",") if part.strip()]
    param.ClearField(field)
    for part in values:
        text = "'" + part.replace("\\", "\\\\").replace("'", "\\'") + "'" if quoted else part
        if not quoted and not re.fullmatch(r"[\w.+-]+", part):
            raise UserError(f"--set {field}={value}: '{part}' is not one value")
        try:
            text_format.Merge(f"{field}: {text}", param)
        except text_format.ParseError as error:
            reason = str(error).split(": ", 1)[-1]
            raise UserError(f"--set {field}={value}: {reason}") from None


def require_files(param, where, protos):
    """Raise unless the solver names one training net, and the nets and the data are there.

    protos: nets.Prototxts, which has those nets afterwards. The errors (exit code 2) name the file
    and the field. Pictures are looked for, not opened.
    """
    given = [field for field in ("train_net", "net") if param.HasField(field)]
    if len(given) != 1:
        wrong = (
            "has both train_net and net; keep one"
            if given
            else "has no train_net, the training net"
        )
        raise UserError(f"{where}: {wrong}")
    for path in [getattr(param, given[0]), *param.test_net]:
        check_input(path, "net", f"{where}: its net")
        protos[path]  # a typo gets its line here: BVLC Caffe would abort
    nets.check_data(protos[train_net(param)], train_net(param), caffe.TRAIN)


def train_net(param):
    """The path of the training net."""
    return param.train_net or param.net


IN_FORCE = "solver_in_force.prototxt"
SIGN = "# The settings in force, written by solvers/solve.py.\n"


def _is_in_force(file):
    """Whether a file begins so, or is as protobuf prints a solver's settings: without comments, as
    earlier versions wrote it."""
    content = file.read(LONGEST)
    if content.startswith(SIGN.encode()):
        return True
    try:
        param = text_format.Parse(content, caffe_pb2.SolverParameter())
    except (text_format.ParseError, UnicodeDecodeError):
        return False
    return text_format.MessageToString(param).encode() == content


SETTINGS = Written("a solver's settings in force", _is_in_force)


def check_effective(param):
    """Raise UserError where something else is in the place of the settings in force."""
    check_target(_in_force(param), SETTINGS)


OPTION, REMADE, WATCHED = "# with ", "# recomputed in backward: ", "# watched with "


def options_of(param):
    """The options that stand in the file of the settings in force, as words; None where there is
    no such file of ours."""
    try:
        lines = read_regular(_in_force(param)).decode().splitlines()
    except (OSError, ValueError):
        return None
    if not lines or lines[0] + "\n" != SIGN:
        return None
    return next((line[len(OPTION) :].split() for line in lines if line.startswith(OPTION)), [])


def warn_of_other_options(param, options):
    """Warn where a training is resumed with other options of computing than it had until now."""
    before = options_of(param)
    if before is not None and before != options:
        then, now = (" ".join(words) or "none of its options" for words in (before, options))
        warn(f"computed until now with {then}, from now on with {now}")


@contextlib.contextmanager
def in_force(param, options=(), remade=(), watched=()):
    """Context in which `param` stands in the file of the settings in force, beside the snapshots,
    whose path it gives; in comments, how is computed, the `options` and the blobs made again, and
    with which options it is `watched`.
    Where it fails, as where another training is at work there, the file is as it was again."""
    path = _in_force(param)
    check_target(path, SETTINGS)
    try:
        before = read_regular(path).decode()
    except (OSError, ValueError):
        before = None
    comments = f"{OPTION}{' '.join(options)}\n" if options else ""
    comments += f"{REMADE}{', '.join(remade)}\n" if remade else ""
    comments += f"{WATCHED}{' '.join(watched)}\n" if watched else ""
    write(path, SIGN + comments + text_format.MessageToString(param), SETTINGS)
    try:
        yield path
    except BaseException:
        if before is not None:
            write(path, before, SETTINGS)
        else:
            with contextlib.suppress(OSError):
                os.unlink(path)
        raise


def _in_force(param):
    return os.path.join(os.path.dirname(param.snapshot_prefix), IN_FORCE)
