"""What a misspelt name was meant to be, where that is all but sure; a far guess leads astray."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MOST = 3  # as many may be meant; of more, none is named
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# What other frameworks and solvers' writers call a thing.
_OTHER_NAMES = {
    "convtranspose": "Deconvolution",
    "transposedconvolution": "Deconvolution",
    "dense": "InnerProduct",
    "fullyconnected": "InnerProduct",
    "linear": "InnerProduct",
    "ip": "InnerProduct",
    "conv2d": "Convolution",
    "maxpooling": "Pooling",
    "maxpool": "Pooling",
    "avgpool": "Pooling",
    "avgpooling": "Pooling",
    "averagepool": "Pooling",
    "averagepooling": "Pooling",
    "convolutional": "Convolution",
    "add": "Eltwise",
    "mul": "Eltwise",
    "fc": "InnerProduct",
    "leakyrelu": "ReLU",
    "crossentropyloss": "SoftmaxWithLoss",
    "lr": "base_lr",
    "learningrate": "base_lr",
    "maxiterations": "max_iter",
    "padding": "pad",
    "dilate": "dilation",
    "ratio": "dropout_ratio",
    "slope": "negative_slope",
    "input": "bottom",
    "inputs": "bottom",
    "output": "top",
    "outputs": "top",
}


def near(word: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that `word` may have been meant to be, at most 3, mostly none or one.

    In this order, each step only where the one before found none: the same letters and digits in
    another case, or with other underscores; the usual name of something else; a beginning
    (`Conv`, `kernel`); some of a name's words or their beginnings, the first one among them
    (`SoftmaxLoss`, `conv_param`); a name and more (`BatchNormalization`); a slip of a letter or
    two.
    """
    names, plain = list(names), _plain(word)
    if not plain:
        return []
    for found in (
        [name for name in names if _plain(name) == plain],
        [name for name in names if name == _OTHER_NAMES.get(plain)],
        [name for name in names if len(plain) > 3 and _begins(_plain(name), plain)],
        [name for name in names if _some_words(_words(word), _words(name))],
        _longest([name for name in names if _is_more(word, name)]),
        _slips(plain, names),
    ):
        if found:
            return found if len(found) <= _MOST else []
    return []


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for what is near, or an empty text."""
    found = [f"'{name}'" for name in near(word, names)]
    if not found:
        return ""
    others = ", ".join(found[:-1])
    return f"; did you mean {others}{' or ' if others else ''}{found[-1]}?"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _begins(name: str, beginning: str) -> bool:
    return len(beginning) > 2 and name.startswith(beginning)


def _longest(names: list[str]) -> list[str]:
    return [max(names, key=len)] if names else []


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _some_words(some: list[str], words: list[str]) -> bool:
    """Whether two or more words, or their beginnings, stand in `words` in the same order, the first
    one first."""
    if len(some) < 2 or not words or not _begins_word(words[0], some[0]):
        return False
    rest = iter(words[1:])
    return all(any(_begins_word(word, one) for word in rest) for one in some[1:])


def _begins_word(word: str, beginning: str) -> bool:
    return word == beginning or _begins(word, beginning)


def _is_more(word: str, name: str) -> bool:
    """Whether `word` is `name` and something behind it, written in one."""
    return len(name) > 3 and "_" not in word and _plain(word).startswith(_plain(name))


def _slips(plain: str, names: list[str]) -> list[str]:
    allowed = 0 if len(plain) < 4 else 1 if len(plain) < 8 else 2
    # Nobody slips in a first letter: GELU is no ELU.
    alike = [name for name in names if _plain(name)[:1] == plain[0]]
    distances = {name: _distance(plain, _plain(name)) for name in alike}
    least = min(distances.values(), default=allowed + 1)
    return [name for name in alike if distances[name] == least] if least <= allowed else []


def _distance(a: str, b: str) -> int:
    """How many letters have to be put in, left out, changed, or swapped with the next one."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a):
        last, row = rows[-1], [i + 1]
        for j, y in enumerate(b):
            row.append(min(last[j + 1] + 1, row[j] + 1, last[j] + (x != y)))
            if i and j and x == b[j - 1] and a[i - 1] == y:
                row[j + 1] = min(row[j + 1], rows[-2][j - 1] + 1)
        rows.append(row)
    return rows[-1][-1]
