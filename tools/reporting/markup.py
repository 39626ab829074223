"""HTML and SVG made of parts: all text is escaped, so that no name of a user's makes markup."""

from __future__ import annotations

import html
import re

EMPTY = {"img", "meta", "line", "polyline", "circle", "rect"}
"""Elements without content: those of SVG need the `/`."""
UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""What no page can hold, and what turns the direction of the text around it."""


class Markup(str):
    """Text that is HTML already."""


def escaped(content) -> Markup:
    """A part, or a list of parts, as HTML: Markup as it is, anything else as text."""
    if isinstance(content, Markup):
        return content
    if isinstance(content, (list, tuple)):
        return Markup("".join(escaped(part) for part in content))
    return Markup(html.escape(UNFIT.sub("\ufffd", str(content)), quote=True))


def tag(element: str, *content, **attributes) -> Markup:
    """`<element …>content</element>`.

    attributes: `class_` for class, `data_x` for data-x; True stands alone, None and False are left
    out.
    """
    told = []
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            told.append(f" {name}")
        elif value is not None and value is not False:
            told.append(f' {name}="{escaped(value)}"')
    start = f"<{element}{''.join(told)}"
    return Markup(f"{start}/>" if element in EMPTY else f"{start}>{escaped(content)}</{element}>")


def table(header, rows, **attributes) -> Markup:
    """A table; each cell is a part, or (part, {attribute: value}). Its first column heads the rows;
    with `class_="sortable"` the page's script sorts it by a click on a heading."""
    head = tag("tr", [_cell("th", cell, scope="col") for cell in header])
    body = [
        tag("tr", _cell("th", row[0], scope="row"), [_cell("td", cell) for cell in row[1:]])
        for row in rows
    ]
    made = tag("table", tag("thead", head), tag("tbody", body), **attributes)
    return tag("div", made, class_="wide", tabindex="0")


def _cell(element, cell, **more):
    if isinstance(cell, tuple):
        cell, own = cell
        more = {**more, **own}
    return tag(element, cell, **more)
