"""Sizes of memory: as users write them, as they are shown, and what this process has."""

from __future__ import annotations

import re

from tools.common.cli import UserError

UNITS = {"GB": 10**9, "GiB": 2**30, "MB": 10**6, "MiB": 2**20}


def bytes_of(text, option="--memory"):
    """The bytes of a size such as 3GB, 2.5 GiB or 800MB. UserError for others."""
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*", text)
    if found and not found.group(2):
        raise UserError(f"{option} {text}: has no unit; write {found.group(1)}GB or …MB")
    units = {name.lower(): size for name, size in UNITS.items()}
    unit = units.get(found.group(2).lower()) if found else None
    if unit is None or not float(found.group(1)):
        raise UserError(f"{option} {text}: is not a size such as 3GB ({', '.join(UNITS)})")
    return int(float(found.group(1)) * unit)


def shown(count):
    """Bytes in MB, as a table has them."""
    return f"{count / 1e6:,.0f} MB"


def resident(status="/proc/self/status"):
    """The memory that this process has now, in bytes; None where none can tell."""
    try:
        with open(status) as file:
            (line,) = (line for line in file if line.startswith("VmRSS:"))
    except (OSError, ValueError):
        return None
    return 1024 * int(line.split()[1])


PROGRAM = 250 * 10**6
"""What Python, PyTorch and this toolkit take where `resident` cannot tell."""


def program():
    """What this process takes before there is a net, in bytes: asked early, before one is."""
    return resident() or PROGRAM
