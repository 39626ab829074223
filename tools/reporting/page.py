"""The whole page: head, sections, style and script, in one file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from prototxt.opening import read_regular
from tools.common.score_tables import percent
from tools.common.written import Written
from tools.reporting import curves, facts, pictures, scores
from tools.reporting.content import Content
from tools.reporting.markup import Markup, tag

HERE = Path(__file__).resolve().parent
MARK = "<!-- a report of dilated-fcn2s -->"
WRITTEN = Written(
    "a report that this toolkit has written",
    lambda file: file.read(200).startswith(f"<!DOCTYPE html>\n{MARK}\n".encode()),
)


def build(content: Content) -> str:
    """The page as HTML. Only the script that is part of it may run, and nothing is fetched."""
    title = f"Report of {content.labels[0]}"
    style, script = (read_regular(HERE / name).decode() for name in ("style.css", "script.js"))
    parts = _sections(content)
    nav = [tag("a", heading, href=f"#{_id(heading)}") for heading, _ in parts]
    body = [
        tag("header", tag("h1", title), _lead(content), _notes(content)),
        tag("nav", nav, _button()),
        tag("main", [_section(heading, found) for heading, found in parts]),
        _dialog(content),
        tag("script", Markup(script)),
    ]
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(style)),
    ]
    whole = tag("html", tag("head", head), tag("body", body), lang="en")
    return f"<!DOCTYPE html>\n{MARK}\n{whole}\n"


def _sections(content):
    """(heading, parts) of what there is to show."""
    found = [("Scores", scores.summary(content)), ("Curves", curves.section(content))]
    several = len(content.runs) > 1
    if content.scored[0] is not None:
        found += [
            ("Classes", scores.classes(content)),
            ("Confusion", scores.confusion(content)),
            ("Pictures", pictures.section(content)),
        ]
        rows = pictures.beside(content)
        found += [("Side by side", rows)] if rows else []
        found.append(("Images", scores.images(content)))
    differing = facts.differences(content) if several else []
    found.append(("Settings", [*differing, *facts.settings(content)]))
    found.append(("Receipt", facts.receipt(content)))
    return found


def _section(heading, parts):
    return tag("section", tag("h2", heading), parts, id=_id(heading))


def _id(heading):
    return heading.lower().replace(" ", "-")


def _lead(content):
    """What is known in a sentence or two."""
    told = [facts.spent(content.runs[0].lines)]
    one = content.scored[0]
    if one is not None:
        report = one.report
        told.append(
            f"mean IU {percent(report['mean_iu'], 1)} % and pixel accuracy "
            f"{percent(report['pixel_accuracy'], 1)} % on {len(report['images'])} images"
        )
    return tag("p", "; ".join(part for part in told if part), class_="lead")


def _notes(content):
    """What is missing, of each run."""
    found = [
        f"{label}: {'; '.join(run.missing)}."
        for label, run in zip(content.labels, content.runs)
        if run.missing
    ]
    return [tag("p", words, class_="note missing") for words in found]


def _button():
    return tag("button", "Light or dark", type="button", id="theme")


def _dialog(content):
    """Where the script puts the images behind a pair of classes, and the classes' colours."""
    colours = content.colours[: len(content.names)].tolist()
    close = tag("button", "Close", type="button", id="close")
    heading = tag("h2", "", id="opened")
    return tag("dialog", tag("div", heading, close, class_="bar"), tag("div", id="behind"),
               id="dialog", aria_labelledby="opened", data_colours=json.dumps(colours))  # fmt: skip


def _policy(script):
    found = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{found}'; base-uri 'none'; form-action 'none'"
    )
