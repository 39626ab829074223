"""The GPU report as Markdown and JSON, from what the stages have told so far."""

from __future__ import annotations

import json
import math

from tools.common.tables import table
from tools.gpu.stage import module_of

FINE = ("done", "cut off", "no time")
"""States of a stage in which nothing went wrong."""

STATES = {
    "waiting": "waits for its turn",
    "running": "running (if nothing runs any more: cut off here)",
    "done": "done",
    "cut off": "ended at its deadline; its results so far stand",
    "no time": "not begun: no time was left for it",
    "failed": "**failed**",
    "stopped": "stopped with the whole report; its results so far stand",
    "not begun": "not begun: the report was stopped",
}


def as_json(data):
    """The report as strict JSON text: numbers that are not finite become words."""
    return json.dumps(_finite(data), indent=1, allow_nan=False) + "\n"


def _finite(value):
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def markdown(data):
    """The report as Markdown text."""
    lines = ["# GPU report", ""]
    if data["dry_run"]:
        lines += [
            "**Dry run: it shows that the code runs; no figure here says anything of a GPU.**",
            "",
        ]
    lines += [f"`{data['command']}`, {data['date']}, {data['minutes']:g} minutes.", ""]
    rows = [[stage["name"], STATES[stage["state"]], f"{stage['seconds']:.1f}", _figure(stage)]
            for stage in data["stages"]]  # fmt: skip
    lines += table(["stage", "state", "seconds", "main figure"], rows, True, left=(0, 1, 3))
    if data["machine"]:
        lines += [
            "",
            *table(["machine", "value"], map(_row, data["machine"].items()), True, left=2),
        ]
    for stage in data["stages"]:
        lines += ["", *_section(stage)]
    return "\n".join(lines) + "\n"


def _row(item):
    name, value = item
    return [name, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)]


def _figure(stage):
    """The stage's main figure in a few words; empty where it has none yet."""
    try:
        main_figure = getattr(module_of(stage["name"]), "main_figure", None)
        found = main_figure(stage["results"]) if main_figure and stage["results"] else None
        return " ".join(str(found).split()) if found else ""
    except Exception:  # shown where the stage's results are
        return ""


def _section(stage):
    """The lines of one stage; what fails in rendering it hides neither it nor the others."""
    try:
        module = module_of(stage["name"])
        title, words = module.TITLE, module.WORDS
    except Exception:
        module, title, words = None, stage["name"], ""
    lines = [f"## {title}", ""]
    if words:
        lines += [" ".join(words.split()), ""]
    if stage["state"] != "done":
        lines += [f"{STATES[stage['state']].capitalize()}.".replace("**failed**", "**Failed**"), ""]
    if stage["error"]:
        lines += ["```", *stage["error"].splitlines(), "```", ""]
    try:
        lines += [module.markdown(stage["results"]).strip("\n") if module else "", ""]
    except Exception as error:
        shown = json.dumps(_finite(stage["results"]))
        lines += [f"The results cannot be shown as tables ({type(error).__name__}: {error}):", "",
                  "```", shown, "```", ""]  # fmt: skip
    if stage.get("left out"):
        lines += [stage["left out"], ""]
    for picture in stage["pictures"]:
        lines += [f"![{picture['caption']}]({picture['file']})", "", picture["caption"], ""]
    while not lines[-1]:
        lines.pop()
    return lines
