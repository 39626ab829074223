"""The stage `tables` of the GPU report: the paper's tables 1 and 6, beside PyTorch and the floor.

Every row is a configuration (row_plan.Row); rows of one side that follow each other are measured
by one worker (tools/benchmark/worker), which gives its memory back between them. A worker of which
a row failed, or that still holds memory, is replaced, so that a row that fails costs no other.
"""

from __future__ import annotations

import time

from tools.benchmark import sides as bench_sides
from tools.common.cli import Failure, processors
from tools.gpu import row_plan, table_chart
from tools.gpu.table_text import WORDS as WORDS, main_figure as main_figure, markdown as markdown

TITLE = "The paper's tables 1 and 6, time and memory"
SIZE, DRY_SIZE = (500, 500), (48, 48)
PRODUCT, DRY_PRODUCT = 8192, 512
SECONDS, DRY_SECONDS = 0.6, 0.05  # for each kind of pass of a row
HELD = 32 << 20  # bytes that a worker may hold when a row begins
START = 12.0  # seconds until the first worker has answered; then as long as the last one took
ROW = 12.0  # seconds for the first row; then as long as those before took, and half as much more


class Rows:
    """Runs rows, starts workers for them, and knows whether the time is enough for another."""

    def __init__(self, job):
        self.job, self.dry = job, job.shrink > 1
        self.size = DRY_SIZE if self.dry else SIZE
        self.seconds = DRY_SECONDS if self.dry else SECONDS
        self.worker, self.ready, self.used_before = None, None, None
        self.start, self.longest = START, {}
        self.told = set()  # nets whose figures were given
        self.results, self.drawn = [], 0  # what was told; how many rows the picture has

    def fits(self, side, net):
        """Whether a row can be begun: it would end in time."""
        row = 1.5 * self.longest.get(side, ROW / 1.5)
        start = 0 if self.ready == (side, net) else self.start
        return self.job.left() > start + row

    def run(self, row):
        """Measure one row; its results, or what went wrong, go to the report."""
        began = time.monotonic()
        configuration = row._asdict()
        side, net = configuration.pop("side"), configuration.pop("net")
        try:
            worker = self._worker(side, net)
            answer = worker.call("row", seconds=self.seconds, **configuration)
            self._keep_driver_apart(answer)
            self._tell("row", side=side, net=net, **configuration, **answer)
        except Failure as failure:
            self._failed(failure, side=side, net=net, **configuration)
        else:
            if answer["held"] > HELD:
                self.close()
        seconds = time.monotonic() - began
        self.longest[side] = max(seconds, self.longest.get(side, 0.0))
        self.job.say(f"{net}, {side}, {row_plan.words(configuration)}: {seconds:.1f} s")

    def _tell(self, kind, **values):
        self.results.append({"kind": kind, **values})
        self.job.result(kind, **values)

    def draw(self):
        """Give the report a picture of the rows that there are, if it has not got it."""
        count = sum(result["kind"] == "row" for result in self.results)
        if count > self.drawn:
            caption = "A training step of each configuration, and its floor"
            self.job.picture("tables", table_chart.plot(self.results), caption)
        self.drawn = count

    def products(self, precisions):
        """The card's rate of products in each precision."""
        size = DRY_PRODUCT if self.dry else PRODUCT
        if self.job.gpu is None:
            size = min(size, 1024)
        for precision in precisions:
            try:
                worker = self._worker(row_plan.MODULE, row_plan.VGG16)
                answer = worker.call("product", seconds=0.3, precision=precision, size=size)
                self._tell("product", precision=precision, size=size, **answer)
            except Failure as failure:
                self._failed(failure, side="product", precision=precision)

    def about(self):
        """What the engine can do here: see EngineRows.about."""
        try:
            return self._worker(row_plan.ENGINE, row_plan.VGG16).call("about")
        except Failure as failure:
            self.job.say(str(failure))
            return {"measures_folding": False, "rounds": True}

    def _worker(self, side, net):
        if self.worker is not None and self.worker.side != side:
            self.close()
        if self.worker is None:
            if self.job.gpu is not None:
                self.used_before = bench_sides.gpu_used(self.job.gpu)
            began = time.monotonic()
            self.worker = bench_sides.Worker(side, processors(), self.job.gpu)
        else:
            began = None
        self.worker.patience = max(1.0, self.job.left())
        if self.ready != (side, net):
            given = {"net": net, "size": self.size, "shrink": self.job.shrink}
            found = self.worker.call("prepare", folder=str(self.job.folder), **given)
            self.ready = (side, net)
            if found and net not in self.told:
                self.told.add(net)
                self._tell("net", **given, **found)
        if began is not None:
            self.start = time.monotonic() - began
        return self.worker

    def _keep_driver_apart(self, answer):
        """What the driver counts is the whole card's: take off what was there before."""
        if self.job.gpu is not None and self.used_before is not None:
            for name in ("memory", "later", "inference"):
                if name in answer:
                    answer[name]["driver"] -= self.used_before

    def _failed(self, failure, **row):
        self.job.say(str(failure))
        self._tell("failed", **row, error=str(failure))
        self.close()  # it may be dead, or have lost the GPU, and every later row with it

    def close(self):
        """End the worker; what it printed goes to the log."""
        if self.worker is not None:
            for line in self.worker.printed_lines():
                self.job.say(line)
            self.worker.process.kill()
            self.worker.close()
        self.worker = self.ready = None


def run(job):
    """Measure the rows of row_plan as long as the time is enough for another."""
    rows = Rows(job)
    try:
        about = rows.about()
        precisions = (
            row_plan.PRECISIONS if job.gpu is not None and about["rounds"] else ("float32",)
        )
        if job.gpu is not None and not about["rounds"]:
            job.result("without", precisions=row_plan.PRECISIONS[1:])
        ordered = row_plan.ordered_rows(job.gpu is not None, about["measures_folding"], precisions)
        left_out = 0
        for row in ordered:
            if row == "products":
                rows.draw()  # the worker changes: the picture so far is there, whatever comes
                rows.products(precisions)
            elif rows.fits(row.side, row.net):
                rows.run(row)
            else:
                left_out += 1
        if left_out:
            job.result("left out", rows=left_out, of=len(ordered) - 1)
        rows.draw()
    finally:
        rows.close()
