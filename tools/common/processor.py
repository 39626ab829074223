"""The processor, as the system tells."""

from __future__ import annotations

import platform


def fields() -> dict[str, str]:
    """What /proc/cpuinfo says of the first processor; {} on a system without it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            first = file.read().split("\n\n")[0]
    except OSError:
        return {}
    parts = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in parts}


def name() -> str:
    return fields().get("model name") or platform.processor() or platform.machine()
