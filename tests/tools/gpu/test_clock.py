"""Times of passes."""

from __future__ import annotations

from tools.gpu import clock


class Machine:
    """A host that launches passes of 1 s in 0.25 s, and a device that works on them; its clock."""

    def __init__(self, monkeypatch, first=1.0):
        self.now, self.done, self.first, self.passes, self.waits = 0.0, 0.0, first, 0, 0
        monkeypatch.setattr(clock.time, "perf_counter", lambda: self.now)

    def run(self):
        self.now += 0.25
        self.done = max(self.now - 0.25, self.done) + (1.0 if self.passes else self.first)
        self.passes += 1

    def wait(self):
        self.waits += 1
        self.now = max(self.now, self.done)


def test_passes_are_timed_to_their_end_once_the_machine_is_warm(monkeypatch):
    machine = Machine(monkeypatch, first=7.0)
    found = clock.repeated(machine.run, machine.wait, seconds=8.0)
    assert found["first"] == 7.0
    assert (found["median"], found["least"], found["most"]) == (1.0, 1.0, 1.0)
    assert found["count"] == 4 and machine.passes == clock.WARM + 4 + 4


def test_passes_in_a_row_are_waited_for_once(monkeypatch):
    machine = Machine(monkeypatch)
    found = clock.repeated(machine.run, machine.wait, seconds=6.0)
    # the first pass, those that warm up, three by themselves, three in a row
    assert found["count"] == 3 and machine.waits == 1 + 1 + 3 + 1
    assert found["in_a_row"] == 1.0


def test_what_runs_several_passes_is_told_how_many(monkeypatch):
    machine, told = Machine(monkeypatch), []
    found = clock.repeated(machine.run, machine.wait, 6.0, told.append)
    assert told == [found["count"]]


def test_a_pass_that_takes_longer_than_the_time_is_run_three_times(monkeypatch):
    machine = Machine(monkeypatch)
    found = clock.repeated(machine.run, machine.wait, seconds=0.5)
    assert machine.passes == 3 and found["count"] == 1


def test_short_passes_are_counted_at_most_so_often(monkeypatch):
    machine = Machine(monkeypatch)
    assert clock.repeated(machine.run, machine.wait, seconds=1e6)["count"] == clock.MOST
