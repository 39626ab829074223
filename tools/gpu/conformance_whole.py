"""Stage `conformance-whole`: all of tests/conformance/gpu, where time is left for it."""

from __future__ import annotations

from tools.gpu import conformance
from tools.gpu.conformance import main_figure as main_figure, markdown as markdown

TITLE = "Conformance, the whole of it"
WORDS = """
As the quick part, with 50 random nets of each layer type, and more iterations and cases. It takes
what time the other stages have left; where it was cut off, the tests that had ended count.
"""


def run(job):
    conformance.run(job, quick=False)
