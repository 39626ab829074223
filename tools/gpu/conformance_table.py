"""The results of the stage `conformance` as Markdown."""

from __future__ import annotations

import re

from tools.common.tables import table

SHOWN = 10
ERROR = 300  # characters of an error in the table


def main_figure(results):
    """How many tests, how many failed, and how near a comparison came to its limit."""
    tests = [r for r in results if r["kind"] == "test"]
    if not tests:
        return None
    failed = sum(r["outcome"] == "failed" for r in tests)
    words = f"{len(tests)} of {planned(results)} tests, {failed} failed"
    if compared := sum(r["compared"] for r in tests):
        nearest = max(map(share_of, tests))
        words += f"; {compared:,} comparisons, the nearest at {nearest:.2g} of its limit"
    return words


def planned(results):
    return next((r["tests"] for r in results if r["kind"] == "plan"), "?")


def share(comparison):
    """Deviation by limit: infinite for NaN, and for any deviation where the limit is 0; 0 for
    None, no comparison."""
    if comparison is None or comparison["deviation"] == 0:
        return 0.0
    deviation, limit = comparison["deviation"], comparison["limit"]
    found = deviation / limit if limit else float("inf")
    return found if found == found else float("inf")


def share_of(test):
    """How much of its limit a test's worst comparison takes."""
    return share(test["worst"])


def group_of(test):
    """What kind of test it is: its function's name in words."""
    return re.sub(r"^test_", "", test.rpartition("::")[2].partition("[")[0]).replace("_", " ")


def name_of(test):
    return test.rpartition("::")[2].removeprefix("test_")


def markdown(results):
    tests = [r for r in results if r["kind"] == "test"]
    lines = []
    for result in results:
        if result["kind"] == "plan":
            where = "an emulated device" if result["emulated"] else "the GPU"
            lines += [f"{len(tests)} of {result['tests']} tests have ended, on {where}.", ""]
        elif result["kind"] == "broken":
            lines += [f"{result['file']} cannot be collected:", "", "```"]
            lines += [*result["error"].splitlines(), "```", ""]
        elif result["kind"] == "cut":
            lines += [f"The time was over in {result['test'] or 'the start of a process'}.", ""]
    if tests:
        lines += groups(tests) + failures(tests) + nearest(tests)
    return "\n".join(lines)


def groups(tests):
    """The table of the groups, in the order in which they ran."""
    rows = []
    for group in dict.fromkeys(group_of(t["test"]) for t in tests):
        found = [t for t in tests if group_of(t["test"]) == group]
        counts = [str(sum(t["outcome"] == o for t in found)) for o in OUTCOMES]
        compared = sum(t["compared"] for t in found)
        worst = max(found, key=share_of)["worst"] if compared else None
        rows.append([group, *counts, f"{compared:,}", *_worst(worst)])
    header = [
        "tests",
        *OUTCOMES,
        "comparisons",
        "closest to its limit: deviation",
        "limit",
        "compared",
    ]
    return [*table(header, rows, True, left=(0, 7)), ""]


OUTCOMES = ("passed", "failed", "skipped")


def _worst(worst):
    if worst is None:
        return ["-", "-", "-"]
    return [f"{worst['deviation']:.1e}", f"{worst['limit']:.0e}", str(worst["what"])]


def failures(tests):
    """The tests that failed, with their errors, and why tests were skipped."""
    lines = []
    failed = [[name_of(t["test"]), _short(t["error"])] for t in tests if t["outcome"] == "failed"]
    if failed:
        lines += [f"Failed: {len(failed)}.", ""]
        lines += [*table(["test", "error"], failed[: 2 * SHOWN], True, left=2), ""]
    reasons = dict.fromkeys(_short(t["error"]) for t in tests if t["outcome"] == "skipped")
    if reasons:
        lines += ["Skipped: " + "; ".join(reasons) + ".", ""]
    return lines


def _short(error):
    return " ".join((error or "").split())[:ERROR]


def nearest(tests):
    """The tests that came nearest to their limits."""
    ranked = sorted((t for t in tests if share_of(t) > 0), key=share_of, reverse=True)[:SHOWN]
    rows = [[name_of(t["test"]), *_worst(t["worst"]), f"{share_of(t):.2g}"] for t in ranked]
    if not rows:
        return []
    header = ["closest to their limits", "deviation", "limit", "compared", "share"]
    return [*table(header, rows, True, left=(0, 3)), ""]
