"""The page's facts: settings, what differs between runs, the receipt."""

from __future__ import annotations

from tools.common.cli import duration
from tools.reporting.content import Content
from tools.reporting.markup import Markup, table, tag
from tools.reporting.runs import differing

SHOWN = 12
"""Characters of a hash."""


def settings(content: Content) -> list[Markup]:
    """The solver's settings in force, and the TOML."""
    run = content.runs[0]
    found: list = []
    if run.settings:
        rows = [[name.strip(), value.strip()] for name, _, value in
                (line.partition(":") for line in run.settings)]  # fmt: skip
        found += [tag("h3", f"In force in {content.labels[0]}"), table(["setting", "value"], rows)]
    if run.task:
        found.append(folded("The task's TOML", tag("pre", run.task)))
    return found or [tag("p", "None were kept.", class_="note")]


def differences(content: Content) -> list[Markup]:
    """The settings that are not the same in all runs."""
    rows = differing([run.settings for run in content.runs])
    rows = [row for row in rows if row[0] != "snapshot_prefix"]  # the run's own place
    tasks = [run.task for run in content.runs]
    if all(tasks):
        lines = [_toml_lines(task or "") for task in tasks]
        known = {name for name, _ in rows}
        rows += [(f"TOML {n}", v) for n, v in differing(lines) if n not in known]
    if not rows:
        return [tag("p", "No setting differs.", class_="note")]
    told = [[name, *("-" if value is None else value for value in values)] for name, values in rows]
    return [tag("h3", "Settings that differ"), table(["setting", *content.labels], told)]


def _toml_lines(text):
    """`key: value` lines of a TOML, as `differing` takes them; a table's name goes before."""
    found, part, begun = [], "", ""
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if begun:  # a list goes on
            begun += " " + line
        elif line.startswith("["):
            part = line.strip("[]") + "."
            continue
        else:
            begun = line
        if begun.count("[") == begun.count("]"):
            name, _, value = begun.partition("=")
            found.append(f"{part}{name.strip()}: {value.strip()}")
            begun = ""
    return found


def receipt(content: Content) -> list[Markup]:
    """How the run came about, a table for each start and resumption."""
    kept = content.runs[0].receipt
    if kept is None:
        return [tag("p", "None was kept.", class_="note")]
    found = []
    for part in kept["parts"]:
        heading = f"From iteration {part['from']}"
        found += [tag("h3", heading), table(["what", "value"], _rows(part, kept["data"]))]
    return found


def _rows(part, data):
    """(what, value) of a part; what is not there, or of another form, is left out."""
    rows = [["when", part.get("when", "-")], ["solver", part.get("solver", "-")]]
    for key in ("set", "options"):
        if part.get(key):
            rows.append([key, " ".join(map(str, part[key]))])
    rows.append(["processes", part.get("processes", "-")])
    start = _dict(part.get("start"))
    rows.append(["weights at the start", _hashed(start.get("path"), start.get("sha256"))])
    rows += [["file", _hashed(name, found)] for name, found in _dict(part.get("files")).items()]
    toolkit = _dict(part.get("toolkit"))
    rows += [[f"toolkit's {key}", _told(toolkit[key])] for key in toolkit if toolkit[key]]
    rows += [[key, _told(value)] for key, value in _dict(part.get("machine")).items()]
    number = part.get("data")
    if isinstance(number, int) and 0 <= number < len(data):
        for name, one in _dict(data[number]).items():
            one = _dict(one)
            told = [f"{key} {one[key]}" for key in ("items", "seed", "list") if key in one]
            files = _dict(one.get("files"))
            rows.append([f"data of {name}", f"{', '.join(told)}; hashes of {len(files)} files"])
    return rows


def _hashed(name, found):
    return [str(name), " ", tag("code", str(found)[:SHOWN], title=str(found))]


def _dict(value):
    return value if isinstance(value, dict) else {}


def _told(value):
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def spent(lines: list[dict]) -> str:
    """How far and how long the lines of a metrics.jsonl say that a training was."""
    if not lines:
        return ""
    seconds = [one["seconds"] for one in lines if isinstance(one.get("seconds"), (int, float))]
    told = f"{max(one['iter'] for one in lines)} iterations"
    return f"{told} in {duration(max(seconds))}" if seconds else told


def folded(heading: str, *content) -> Markup:
    """A part that a click opens."""
    return tag("details", tag("summary", heading), *content)
