"""The error of surgery: weights, or a net, that do not fit."""


class SurgeryError(ValueError):
    """Wrong input: the message names the file or the layer and says what to do."""

    exit_code = 2
