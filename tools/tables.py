"""Tables as lines of text: aligned columns, or Markdown."""

from __future__ import annotations


def table(header, rows, markdown=False, left=1):
    """Lines of a table of strings; the first `left` columns go to the left, others to the right."""
    if markdown:
        rule = [":--" if i < left else "--:" for i in range(len(header))]
        cells = [header, rule, *([c.strip().replace("|", "\\|") for c in row] for row in rows)]
        return ["| " + " | ".join(row) + " |" for row in cells]
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
