"""Flags as Google's gflags reads them: -name=value, --name=value, -name value, anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import InputError
from ..proto.hints import near

EFFECTS = ("stop", "snapshot", "none")
_TRUE, _FALSE = ("true", "t", "1", "yes", "y"), ("false", "f", "0", "no", "n")
_LOG = ("logtostderr", "alsologtostderr")  # it goes there anyway


@dataclass
class Flags:
    """The values of the flags; `given` names those that were on the command line."""

    solver: str = ""
    snapshot: str = ""
    weights: str = ""
    model: str = ""
    iterations: int = 50
    gpu: str = ""
    phase: str = ""
    level: int = 0
    stage: str = ""
    sigint_effect: str = "stop"
    sighup_effect: str = "snapshot"
    minloglevel: int | None = None
    deterministic: bool = False
    help: bool = False
    given: list[str] = field(default_factory=list)

    @property
    def stages(self) -> list[str]:
        return [stage for stage in self.stage.split(",") if stage]

    def need(self, name: str, what: str) -> str:
        """The value of a flag that must be there."""
        value = getattr(self, name)
        if not value:
            raise InputError(f"give {what}: -{name} FILE")
        return value

    def warn_of_unused(self, command: str, used: tuple[str, ...]) -> None:
        from ..log import WARNING, log

        for name in self.given:
            if name not in (*used, "minloglevel", "help"):
                log(f"-{name} has no effect on '{command}'", WARNING, "caffe.py:1")


_NAMES = [name for name in Flags.__dataclass_fields__ if name != "given"]
_WHOLE = ("iterations", "level", "minloglevel")


def _whole(name: str, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise InputError(f"-{name}: '{text}' is not a whole number") from None
    if not -(2**31) <= value < 2**31:
        raise InputError(f"-{name} {value}: must lie between -2^31 and 2^31 - 1")
    if name == "iterations" and value < 1:
        raise InputError(f"-iterations {value}: must be at least 1")
    return value


def _is_true(name: str, text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise InputError(f"-{name}={text}: must be true or false")
    return text.lower() in _TRUE


def _set(flags: Flags, name: str, text: str) -> None:
    if name in ("sigint_effect", "sighup_effect") and text not in EFFECTS:
        raise InputError(f"-{name}: '{text}' is not one of {', '.join(EFFECTS)}")
    if name == "phase" and text not in ("", "TRAIN", "TEST"):
        raise InputError(f"-phase {text}: must be TRAIN or TEST")
    setattr(flags, name, _whole(name, text) if name in _WHOLE else text)
    flags.given.append(name)


def parse(argv: list[str]) -> tuple[list[str], Flags]:
    """The words that are no flags, and the flags. Raises InputError."""
    words, flags, rest = [], Flags(), list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        name, given, value = word.lstrip("-").partition("=")
        if name in ("help", "h", "deterministic", *_LOG):
            wanted = _is_true(name, value) if given else True
            if name in ("help", "h"):
                flags.help = wanted
            elif name == "deterministic":
                flags.deterministic = wanted
                flags.given.append(name)
            continue
        if name == "log_dir":
            raise InputError(
                "-log_dir: no log files are written; send standard error to a file: 2> train.log"
            )
        if name not in _NAMES:
            meant = near(name, _NAMES)
            hint = f"did you mean -{' or -'.join(meant)}?" if meant else "-help shows all"
            raise InputError(f"there is no flag -{name}; {hint}")
        if not given:
            if not rest:
                raise InputError(f"-{name} needs a value behind it")
            value = rest.pop(0)
        _set(flags, name, value)
    return words, flags
