"""Tables as lines of text: aligned columns, or Markdown."""

from __future__ import annotations


def table(header, rows, markdown=False, left=1):
    """Lines of a table of strings.

    header    the headings; None: rows alone (not in Markdown)
    left      the columns that go to the left, the others go to the right: how many of the first,
              or their indices
    markdown  whether the lines are Markdown
    """
    rows = list(rows)
    left = range(left) if isinstance(left, int) else left
    if markdown:
        rule = [":--" if i in left else "--:" for i in range(len(header))]
        cells = [header, rule, *([c.strip().replace("|", "\\|") for c in row] for row in rows)]
        return ["| " + " | ".join(row) + " |" for row in cells]
    rows = rows if header is None else [header, *rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
