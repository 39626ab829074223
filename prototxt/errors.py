"""The one error of this package."""


class InputError(ValueError):
    """A prototxt, or a data set's TOML, is wrong: the message names the file, and line, field or
    key."""

    exit_code = 2
