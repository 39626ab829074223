"""Errors that the engine raises, with the exit code a command line tool should end with."""


class Error(RuntimeError):
    """The work failed: a disk is full, a device is lost, a number overflowed."""

    exit_code = 1


class InputError(Error):
    """An input is wrong: a prototxt, a caffemodel, a shape, a device that is not there."""

    exit_code = 2
