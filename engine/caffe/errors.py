"""Errors that the engine raises, with the exit code a command line tool should end with."""

_LONGEST = 2000


def _one_line(message: str) -> str:
    """Without line breaks, and its middle left out where it is long: names out of a damaged file
    stand in it."""
    line = " ".join(message.splitlines())
    half = _LONGEST // 2
    return line if len(line) <= _LONGEST else f"{line[:half]} … {line[-half:]}"


class Error(RuntimeError):
    """The work failed: a disk is full, a device is lost, a number overflowed."""

    exit_code = 1

    def __init__(self, message=""):
        super().__init__(_one_line(str(message)))


class InputError(Error):
    """An input is wrong: a prototxt, a caffemodel, a shape, a device that is not there."""

    exit_code = 2


class FileError(InputError, OSError):
    """A file cannot be read; also an OSError, which scripts that skip such files catch."""


class WrongArray(InputError, ValueError):
    """An array, a file or a setting that does not fit; pycaffe raises a ValueError."""
