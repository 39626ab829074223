"""The report's runner: what fails, overruns or is cut off costs only itself."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.helpers.processes import gone, wait_until
from tools.common.cli import UserError
from tools.gpu import runner
from tools.gpu.child import Child
from tools.gpu.runner import Runner, Stage


class Impatient(Child):
    """A stage whose deadline comes with its first number."""

    def pump(self):
        lines, events = super().pump()
        if any("value" in event.get("result", ()) for event in events):
            self.deadline = time.monotonic()
        return lines, events


@pytest.fixture
def impatient(monkeypatch):
    """Every stage's deadline comes with its first number."""
    monkeypatch.setattr(runner, "Child", Impatient)


def states(toys):
    return [stage["state"] for stage in toys.data()["stages"]]


def results_of(toys, number=0):
    """The results of a stage, [] as long as there is no report."""
    try:
        return toys.data()["stages"][number]["results"]
    except FileNotFoundError:
        return []


def test_every_stage_is_in_the_report_with_its_results(toys):
    assert toys.run("toys.good") == 0
    (stage,) = toys.data()["stages"]
    assert stage["results"] == [{"kind": "number", "value": None}]
    assert toys.data()["machine"] == {"device": "a toy"}
    text = toys.text()
    assert "| toys.good | done |" in text and "| 1 results |" in text
    assert "## Stage good\n\nWhat it does.\n\nresults: None\n" in text
    assert "[toys.good] hello" in toys.log()


def test_a_stage_that_fails_says_so_in_its_place_and_the_next_one_runs(toys):
    assert toys.run("toys.failing", "toys.good") == 1
    assert states(toys) == ["failed", "done"]
    section = toys.text().partition("## Stage failing")[2].partition("## Stage good")[0]
    assert "ValueError: a bad bolt" in section and "results: 7" in section
    assert "Traceback" not in toys.text() and "Traceback" in toys.log()


@pytest.mark.slow
def test_a_stage_that_a_signal_ends_leaves_its_last_lines(toys):
    assert toys.run("toys.dying", "toys.good") == 1
    assert states(toys) == ["failed", "done"]
    error = toys.data()["stages"][0]["error"]
    assert "signal 11" in error and error.endswith("last words")


@pytest.mark.slow
def test_a_picture_that_cannot_be_written_is_left_out(toys, monkeypatch):
    write = runner.write

    def full(path, data, written):
        if path.endswith(".png"):
            raise OSError(28, "No space left on device", path)
        write(path, data, written)

    monkeypatch.setattr(runner, "write", full)
    assert toys.run("toys.painter", "toys.good") == 0
    assert states(toys) == ["done", "done"]
    assert "Left out: gpu-picture-0.png: No space left on device." in toys.text()


@pytest.mark.slow
def test_two_reports_are_not_written_into_one_folder(toys):
    first = toys.start("toys.slow")
    wait_until(lambda: results_of(toys) or first.poll() is not None)
    before = toys.log()
    with pytest.raises(UserError, match="another report is being written there"):
        toys.run("toys.good")
    assert toys.log().startswith(before)
    first.terminate()
    assert first.wait(20) == 143


@pytest.mark.slow
def test_a_machine_that_says_nothing_is_named(toys, monkeypatch):
    monkeypatch.setattr(runner, "PROBE", "toys.silent")
    monkeypatch.setattr(runner, "PROBE_SECONDS", 0.5)
    with pytest.raises(UserError, match="PyTorch said nothing of the CPU in 0 s"):
        toys.run("toys.good")


def test_a_stage_without_its_module_fails_in_its_place(toys):
    assert toys.run("toys.absent", "toys.good") == 1
    assert "No module named 'toys.absent'" in toys.text()


def test_a_stage_that_overruns_is_ended_with_its_children_and_its_results_stand(toys, impatient):
    assert toys.run("toys.slow") == 0
    assert states(toys) == ["cut off"]
    (result,) = results_of(toys)
    assert gone(result["value"]) and gone(result["child"])


@pytest.mark.slow
def test_a_stage_that_overruns_without_a_result_has_failed(toys):
    assert toys.run(Stage("toys.silent", 10, most=1)) == 1
    assert "its time ended before its first result" in toys.text()


@pytest.mark.slow
def test_a_stage_may_use_the_seconds_after_its_deadline(toys, impatient):
    assert toys.run("toys.tidy") == 0
    assert [r["value"] for r in results_of(toys)] == [1, 2]


@pytest.mark.slow
def test_results_that_cannot_be_rendered_are_shown_as_they_are(toys):
    assert toys.run("toys.unreadable", "toys.good") == 0
    assert '"wrong": "nan"' in toys.text() and "KeyError" in toys.text()
    json.loads((toys.out / "gpu-report.json").read_text(), parse_constant=pytest.fail)


def test_pictures_go_beside_the_report_five_at_most(toys):
    assert toys.run("toys.painter") == 0
    assert sorted(p.name for p in toys.out.glob("*.png")) == [
        f"gpu-picture-{i}.png" for i in range(runner.PICTURES)
    ]
    assert (toys.out / "gpu-picture-0.png").read_bytes() == b"PNG again"
    assert "![once more](gpu-picture-0.png)" in toys.text()
    assert "left out: picture gpu-picture-6.png" in toys.log()


@pytest.mark.slow
def test_a_new_report_takes_the_old_ones_pictures_away_and_no_others(toys):
    toys.run("toys.painter")
    (toys.out / "gpu-mine.png").write_bytes(b"PNG")
    toys.run("toys.good")
    assert [p.name for p in toys.out.glob("*.png")] == ["gpu-mine.png"]


@pytest.mark.slow
def test_where_the_gpu_cannot_be_used_the_old_report_stays(toys, monkeypatch):
    toys.run("toys.good")
    old = toys.text()
    monkeypatch.setattr(runner, "PROBE", "toys.refusing")
    with pytest.raises(UserError, match="GPU 0: there is none; take another"):
        toys.run("toys.failing")
    assert toys.text() == old


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_report_that_is_stopped_keeps_its_results_and_ends_its_children(toys, number):
    process = toys.start("toys.good", "toys.slow", "toys.good")
    (result,) = wait_until(lambda: results_of(toys, 1))
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert states(toys) == ["done", "stopped", "not begun"]
    assert "results: None" in toys.text() and f"results: {result['value']}" in toys.text()
    assert gone(result["value"]) and gone(result["child"])
    assert not list(toys.folder.glob("gpu-report-*"))


@pytest.mark.slow
def test_a_report_that_is_killed_is_readable_and_its_children_end(toys):
    process = toys.start("toys.good", "toys.slow", "toys.good")
    (result,) = wait_until(lambda: results_of(toys, 1))
    process.kill()
    process.wait()
    assert gone(result["value"]) and gone(result["child"])
    assert states(toys) == ["done", "running", "waiting"]
    assert "results: None" in toys.text() and f"results: {result['value']}" in toys.text()
    assert "[toys.good] hello" in toys.log()
    wait_until(lambda: not list(toys.folder.glob("gpu-report-*")))


@pytest.mark.slow
def test_what_children_write_while_a_report_is_killed_goes_too(toys):
    process = toys.start("toys.littering")
    wait_until(lambda: results_of(toys))
    process.kill()
    process.wait()
    wait_until(lambda: not list(toys.folder.glob("gpu-report-*")))
    time.sleep(0.5)
    assert not list(toys.folder.glob("gpu-report-*"))


@pytest.mark.slow
def test_the_report_is_whole_at_every_moment(toys):
    process = toys.start("toys.busy")
    seen = set()
    wait_until((toys.out / "gpu-report.json").exists)
    while process.poll() is None:
        seen.add(len(toys.data()["stages"][0]["results"]))
        text = toys.text()
        assert text.startswith("# GPU report\n") and text.endswith("\n")
        for picture in toys.out.glob("gpu-*.png"):
            assert picture.stat().st_size == 15000
        time.sleep(0.003)
    assert process.wait() == 0
    assert results_of(toys)[59] and len(seen) > 1


def test_what_a_stage_does_not_use_passes_on_to_the_later_ones(toys):
    made = Runner(toys.settings(*runner.STAGES, minutes=8))
    check, conformance, tables, timeline, training, ranks, whole = runner.STAGES
    entries = made.data["stages"]
    assert made.seconds_for(check) == 60
    entries[0]["state"] = "done"
    given = made.seconds_for(conformance)
    assert given == pytest.approx(0.15 * 475, abs=1)
    entries[1]["state"] = "done"
    assert made.seconds_for(tables) == pytest.approx(475 * 30 / 85, abs=1)
    for entry in entries[2:4]:
        entry["state"] = "done"
    assert made.seconds_for(training) == pytest.approx(475 * 35 / 47, abs=1)
    entries[4]["state"] = "done"
    assert made.seconds_for(ranks) == pytest.approx(475, abs=1)
    entries[5]["state"] = "done"
    assert made.seconds_for(whole) == pytest.approx(475, abs=1)


def test_a_stage_is_given_what_it_needs_where_its_share_is_less(toys):
    made = Runner(toys.settings(*runner.STAGES, minutes=3))
    timeline = runner.STAGES[3]
    for entry in made.data["stages"][:3]:
        entry["state"] = "done"
    made.end = time.monotonic() + runner.GRACE + 100
    assert made.seconds_for(timeline) == pytest.approx(30, abs=1)
    made.end = time.monotonic() + runner.GRACE + 20
    assert made.seconds_for(timeline) == pytest.approx(20, abs=1)


def test_the_whole_conformance_is_left_out_where_little_time_is_left(toys):
    assert toys.run(Stage("toys.good", 10, least=60), minutes=0.3) == 0
    assert states(toys) == ["no time"]
