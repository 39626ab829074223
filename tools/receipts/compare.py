"""How one receipt, or one sequence of losses, differs from another, in words."""

from __future__ import annotations

FEW = 3
"""Files that are named where many differ."""


def machines(then: dict, now: dict) -> list[str]:
    """What differs in what numbers may depend on besides files."""
    said = [
        f"{key}: {then.get(key, 'not told')} then; {now.get(key, 'not told')} now"
        for key in {**then, **now}
        if then.get(key) != now.get(key)
    ]
    return [f"machine: {line}" for line in said]


def toolkits(then: dict, now: dict) -> list[str]:
    if then["sources"] == now["sources"]:
        return []
    return [f"toolkit: {_version(then)} then; {_version(now)} now"]


def _version(toolkit):
    if "commit" not in toolkit:
        return f"sources {toolkit['sources'][:12]}"
    changed = toolkit["changed"]
    besides = f" with changes in {_few(changed)}" if changed else ""
    return f"commit {toolkit['commit'][:12]}{besides}"


def surroundings(then: dict, now: dict) -> list[str]:
    """What differs between the toolkits and the machines of two receipts."""
    return [
        *toolkits(then["toolkit"], now["toolkit"]),
        *machines(then["machine"], now["machine"]),
    ]


def settings(then: list[str], now: list[str]) -> list[str]:
    """What differs in the solver's settings, line by line."""
    gone, new = ([line for line in a if line not in b] for a, b in ((then, now), (now, then)))
    said = []
    for line in gone:
        field = line.partition(":")[0]
        other = [found for found in new if found.partition(":")[0] == field]
        new = [found for found in new if found not in other]
        said.append(f"{line} then; {', '.join(other) or 'not there'} now")
    said += [f"{line} now; not there then" for line in new]
    return [f"solver: {line}" for line in said]


def files(what: str, then: dict, now: dict) -> list[str]:
    """What differs in {path: hash}."""
    other = [path for path in then if path in now and then[path] != now[path]]
    gone = [path for path in then if path not in now]
    new = [path for path in now if path not in then]
    said = []
    for paths, how in ((other, "other content"), (gone, "not read now"), (new, "not read then")):
        if paths:
            said.append(f"{what}: {_few(paths)}: {how}")
    return said


def data(then: dict | None, now: dict | None) -> list[str]:
    """What differs in what data layers read, as `data.described` gives it."""
    if then is None or now is None:
        return ["data: its hashes are not known"]
    said = []
    for layer in {**then, **now}:
        before, after = then.get(layer), now.get(layer)
        if before is None or after is None:
            said.append(f"data: layer '{layer}' is {'new' if before is None else 'gone'}")
            continue
        for key, what in (("items", "items"), ("list", "the list of its items"), ("seed", "seed")):
            if before.get(key) != after.get(key):
                values = f" {before.get(key)} then; {after.get(key)} now"
                said.append(f"data: layer '{layer}': {what}{values if key != 'list' else ''}"
                            f"{' is another one' if key == 'list' else ''}")  # fmt: skip
        said += files("data", before["files"], after["files"])
    return said


def _few(paths: list[str]) -> str:
    more = f" and {len(paths) - FEW} more" if len(paths) > FEW else ""
    return ", ".join(paths[:FEW]) + more


def losses(then: list[dict], now: list[dict]) -> str | None:
    """The first line of losses or checksums that differs, in words; None where none does."""
    for number, (before, after) in enumerate(zip(then, now)):
        if before == after:
            continue
        at = f"iteration {before['iter']}"
        if "losses" in before and "losses" in after:
            mine, other = before["losses"], after["losses"]
            name = next((n for n in mine if mine[n] != other.get(n)), next(iter(mine), "loss"))
            return f"{at}: {name} {mine.get(name)} then; {other.get(name)} now"
        mine, other = (one.get("weights", {}) for one in (before, after))
        layer = next((n for n in mine if mine[n] != other.get(n)), None)
        return (
            f"{at}: the parameters of layer '{layer}' are others"
            if layer
            else (f"{at}: line {number + 1} is of another kind")
        )
    if len(then) != len(now):
        return f"{len(then)} lines then; {len(now)} now"
    return None


def told(inputs: list[str], around: list[str], number: str | None, same: str) -> int:
    """Print what differs: in inputs, in what is around them, and the first number; or that the
    numbers `same` names are the same. The exit code."""
    for line in [*inputs, *around]:
        print(f"  differs: {line}")
    if number is not None:
        print(f"  the first number that differs: {number}")
        return 1
    print(f"the same to the bit: {same}")
    return 1 if inputs else 0
