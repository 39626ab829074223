"""The bench: it runs, it is honest about what it compares, and it reports plainly. No times."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import caffe
from tests.helpers.processes import environment
from tools import bench
from tools.benchmark import (
    caffe_side as bench_caffe,
    chart as bench_chart,
    goals as bench_goals,
    measures as bench_measures,
    nets as bench_nets,
    sides as bench_sides,
)
from tools.benchmark.caffe_side import CaffeSide
from tools.benchmark.nets import Case
from tools.benchmark.torch_side import TorchSide
from tools.benchmark.worker import peak_memory, softmax_loss
from tools.common import cli
from tools.common.cli import Failure

SHRINK = 16


def setup(folder, **more):
    made = bench_measures.Setup(
        nets=["dilated-fcn2s-vgg16"],
        sizes=[(64, 64)],
        sides=["engine", "torch"],
        rounds=1,
        threads=2,
        gpu=None,
        folder=str(folder),
        shrink=SHRINK,
        product=64,
        quick=True,
        data=None,
    )
    return made._replace(**more)


def error_of(argv, capsys):
    """(exit code, stderr) of bench.py."""
    with pytest.raises(SystemExit) as caught:
        cli.run(bench.main, argv)
    return caught.value.code, capsys.readouterr().err


# -- what is compared is the same ----------------------------------------------------------------


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Function (net, size, changes) → the engine's side and the PyTorch module's, opened."""
    folder = tmp_path_factory.mktemp("bench")

    def opened(net, size=(64, 64), mode="step", classes=5, **changes):
        case = Case(net, size, classes, SHRINK)
        caffe.set_mode_cpu()
        found = setup(folder)
        train = bench_nets.write(str(folder / "net.prototxt"), bench_nets.net_of(case, "train"))
        names = bench_measures.weight_files(found, case)
        CaffeSide(None).save_weights(train, list(case), *names)
        job = bench_measures.job_of(found, case, mode, **changes)
        both = SimpleNamespace(job=job, engine=CaffeSide(None), torch=TorchSide(None, 2))
        for side in (both.engine, both.torch):
            side.open(job)
        return both

    yield opened
    for name, default in (("set_lean", False), ("set_folding", True)):
        bench_caffe.setting(name, default)


@pytest.mark.parametrize("net", bench_nets.NETS)
def test_the_pytorch_module_gives_the_engines_losses_before_and_after_updates(sides, net):
    both = sides(net, (64, 70), dropout=False, base_lr=1e-5)
    losses = {k: [getattr(both, k).run()["loss"] for _ in range(3)] for k in ("engine", "torch")}
    np.testing.assert_allclose(losses["torch"], losses["engine"], rtol=1e-5)
    assert abs(losses["engine"][2] / losses["engine"][0] - 1) > 1e-3  # the updates tell


@pytest.mark.parametrize("net", ["dilated-fcn2s-vgg16", "fcn8s-vgg16"])
def test_the_pytorch_module_gives_the_engines_scores(sides, net):
    both = sides(net, (64, 70), "forward")
    for side in (both.engine, both.torch):
        assert side.run()["loss"] is None
    assert both.torch.scores().shape == (1, 5, 64, 70)
    scale = np.abs(both.engine.scores()).max()
    np.testing.assert_allclose(both.torch.scores(), both.engine.scores(), atol=1e-5 * scale)


def test_training_drops_out_and_testing_does_not(sides):
    both = sides("dilated-fcn2s-vgg16", mode="both", base_lr=0.0)
    for side in (both.engine, both.torch):
        first, scores = side.run()["loss"], np.array(side.scores())
        assert side.run()["loss"] != first
        np.testing.assert_array_equal(side.scores(), scores)


def test_the_module_has_the_nets_parameters(sides):
    both = sides("dilated-fcn2s-vgg19")
    learned = sum(p.numel() for p in both.torch.module.parameters() if p.requires_grad)
    fixed = [name for name in both.engine.net.params if name.startswith(("upscore", "scale"))]
    params = both.engine.net.params
    assert learned == sum(b.count for n in params if n not in fixed for b in params[n])


def test_the_torch_side_leaves_the_engine_alone(root):
    """The engine changes how the C library allocates, which would speed the plain module up."""
    code = "import sys; import tools.benchmark.torch_side; sys.exit('caffe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment(root)).returncode == 0


def test_the_small_net_has_20_layers_that_go_backward(tmp_path, sides):
    engine = sides("dilated-fcn2s-vgg16").engine
    path = tmp_path / "small.prototxt"
    path.write_text(bench_nets.small_layers())
    assert path.read_text().count("layer {") == 20
    assert 0 < engine.iterate(str(path), 2)["seconds"] < 60
    bench_caffe.setting("set_lean", False)
    net = caffe.Net(str(path), caffe.TRAIN)
    net.blobs["data"].data[...] = 1
    net.forward()
    net.backward()
    assert np.any(net.params["conv1"][0].diff)


# -- arithmetic ----------------------------------------------------------------------------------


def test_the_convolutions_of_the_paper_are_319_gflop():
    assert bench_nets.flop(Case("dilated-fcn2s-vgg16", (500, 500))) / 1e9 == pytest.approx(
        319, 3e-3
    )
    assert bench_nets.fc6("fcn8s-vgg16") == ("4096x512x7x7", "1", "102,760,448")


def test_the_loss_of_scores_leaves_void_pixels_out():
    scores = np.zeros((1, 4, 2, 3), np.float32)
    scores[0, 1] = 1000  # no overflow
    label = np.full((1, 1, 2, 3), 1.0)
    label[0, 0, 0] = 255
    assert softmax_loss(scores, label) == 0
    label[0, 0, 1, 0] = 2
    assert softmax_loss(scores, label) == pytest.approx(1000)


def test_peak_memory_is_that_of_the_process():
    assert peak_memory() is None or 10e6 < peak_memory() < 1e12
    assert peak_memory("/nonexistent") is None


def test_spreads_and_ratios():
    assert bench_sides.spread([3.0, None, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "most": 3.0}
    assert bench_sides.spread([None]) is None
    assert bench_sides.ratios([4.0, 9.0], [2.0, 3.0])["median"] == 2.5


# -- the whole, in processes ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A small run: exit code, the JSON, the report, the folder."""
    out = tmp_path_factory.mktemp("out")
    code = bench.main(
        f"--quick --sizes 64x64 --shrink {SHRINK} --rounds 1 --sides engine,torch,ceiling"
        f" --measures forward,score --out {out}".split()
    )
    data = json.loads((out / "performance.json").read_text())
    return SimpleNamespace(code=code, data=data, out=out, text=(out / "performance.md").read_text())


def test_a_run_measures_every_side_and_says_so(ran):
    assert ran.code == 0
    forward, score = ran.data["results"]
    assert list(forward["sides"]) == ["engine", "torch", "ceiling"] and not forward["failed"]
    for side in ("engine", "torch"):
        found = forward["sides"][side]
        assert len(found["seconds"]) == 1 and 0 < found["seconds"][0] < found["cold"]
    assert forward["sides"]["ceiling"]["rate"][0] > 0
    losses = [forward["sides"][side]["loss"] for side in ("engine", "torch")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    engine = score["sides"]["engine"]
    assert 0 < engine["reading"][0] < engine["forwards"][0] < engine["seconds"][0]


def test_the_report_has_every_part_and_no_goal_that_was_not_measured(ran):
    for part in ("## Goals", "## Forward pass", "## Scoring", "--shrink 16"):
        assert part in ran.text
    goals = ran.text.split("## Goals")[1].split("##")[0]
    assert goals.count("not measured") == len(bench_goals.GOALS) - 1  # score's share alone
    assert "NaN" not in (ran.out / "performance.json").read_text()


def test_the_growth_is_drawn(tmp_path):
    from PIL import Image

    from tools.benchmark import report as bench_report

    results = [
        {
            "measure": "growth", "net": "x", "size": [n, n], "classes": c, "axis": axis,
            "mode": mode, "failed": {},
            "sides": {"engine": {"seconds": [n / 100], "peak": 1e6 * n}},
        }
        for axis, points in (("size", [(64, 21), (96, 21)]), ("classes", [(64, 2), (64, 9)]))
        for n, c in points
        for mode in ("forward", "step")
    ]  # fmt: skip
    bench_chart.plot(results, tmp_path / "growth.png")
    with Image.open(tmp_path / "growth.png") as picture:
        assert picture.width > 600
    assert "| 96x96 | 0.96 | 0.96 | 96 | 96 |" in bench_report.growth_table(results, "size")
    assert "| 9 | 0.64 | 0.64 | 64 | 64 |" in bench_report.growth_table(results, "classes")


# -- reports -------------------------------------------------------------------------------------


def result(measure, **sides):
    return {
        "measure": measure, "net": bench_goals.NET, "size": bench_goals.SIZE, "classes": 21,
        "sides": sides, "failed": {}, "flop": 1e9,
    }  # fmt: skip


def side(*seconds, **more):
    return {"seconds": list(seconds), "cold": 9.0, "peak": 4e9, **more}


def test_the_chart_shows_the_tables_median_of_an_even_number_of_rounds_too():
    assert bench_chart.median_seconds({"seconds": [4.0, 1.0, 2.0, 3.0]}) == 2.5


def test_goals_are_judged_by_the_median_of_the_rounds_and_shortfalls_stay():
    engine = side(1.0, 2.0, 1.0, peak=1e9)
    results = [
        result("forward", engine=engine, bvlc=side(2.0, 2.0, 2.0), torch=side(1.2, 2.4, 1.2),
               ceiling={"seconds": [1.0] * 3, "rate": [8e8] * 3}),
        result("step", engine=engine, bvlc=side(2.0, 3.0, 1.0, peak=3.9e9)),
    ]  # fmt: skip
    found = bench_goals.measured(results)
    verdicts = {k: bench_goals.verdict(goal, found[k]) for k, goal in bench_goals.GOALS.items()}
    assert verdicts == {
        "forward": "reached", "step": "missed", "forward torch": "missed",
        "step torch": "not measured", "ceiling": "reached", "training memory": "missed",
        "inference memory": "missed", "small": "not measured", "overhead": "not measured",
        "score": "not measured",
    }  # fmt: skip
    from tools.benchmark.report import goals

    assert goals(results)[3].endswith("| ≥ 1.8 | 1.50 (1.00–2.00) | missed |")


def test_a_side_that_fails_is_named_in_the_report_and_its_columns_stay_empty():
    from tools.benchmark import report as bench_report

    results = [
        result("forward", engine=side(1.0, 3.0), bvlc=side(4.0, 4.0)),
        {
            **result("forward", engine=side(2.0)),
            "net": "other",
            "failed": {"bvlc": "out of memory"},
        },
    ]
    data = {
        "command": "bench.py", "date": "today", "machine": {"processor": "x"}, "results": results,
        "settings": {"gpu": None, "rounds": 2}, "left_out": ["torch: is not there"],
    }  # fmt: skip
    text = bench_report.markdown(data)
    assert "| other 500x500 | 2 | - | - |" in text
    assert "- forward, other 500x500: out of memory" in text
    assert "Left out: torch: is not there." in text


def test_the_papers_tables_stand_beside_what_was_measured():
    from tools.benchmark import report as bench_report

    results = [result(mode, engine=side(0.5, driver=2e9)) for mode in ("forward", "step", "both")]
    row = bench_report.paper(results, ["engine"])[2]
    assert row == (
        "| dilated-fcn2s-vgg16 | engine | 4096x512x3x3 | 3 | 18,874,368 | 0.5 | 0.5 | 0.5"
        " | 3,093 | 2,000 | 4,101 | 2,000 |"
    )


# -- workers that go wrong -----------------------------------------------------------------------


def test_a_side_that_dies_drops_out_and_the_others_go_on(capsys):
    with bench_sides.Team() as team:
        team.start("ceiling", 1, None)
        team.start("torch", 1, None)
        assert team.call("ceiling", "open", job={"product": 8}) == {}
        team.workers["torch"].process.kill()
        answers = team.turns(2, "run", lambda name: None)
    assert list(answers) == ["ceiling"] and len(answers["ceiling"]) == 2
    assert "the process ended (signal 9)" in team.failed["torch"]
    assert capsys.readouterr().err.count("\n") == 1


def test_a_worker_that_gives_no_answer_in_time_is_ended():
    with bench_sides.Worker("ceiling", 1, patience=0.0) as worker:
        with pytest.raises(Failure, match="^ceiling: about: no answer in 0 s$"):
            worker.call("about")
        assert worker.process.poll() is not None


def test_what_a_worker_cannot_do_is_one_line():
    said = "^ceiling: open: KeyError: 'product'$"
    with bench_sides.Worker("ceiling", 1) as worker:
        with pytest.raises(Failure, match=said):
            worker.call("open", job={})
        assert worker.call("about")["threads"] == 1  # and the worker goes on


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--nets", "alexnet"], "--nets alexnet: not one of dilated-fcn2s-vgg16"),
        (["--measures", "forward,speed"], "--measures speed: not one of forward"),
        (["--sides", "engine,tensorflow"], "--sides tensorflow: not one of engine"),
        (["--sides", ","], "--sides: names nothing"),
        (["--sizes", "500"], "--sizes: expected HxW"),
        (["--rounds", "0"], "--rounds 0"),
        (["--threads", "-1"], "--threads -1"),
        (["--gpu", "99"], "--gpu 99: there is no such GPU"),
        (["--gpu", "-1"], "--gpu -1: there is no such GPU"),
    ],
)
def test_a_wrong_call_is_one_line(capsys, tmp_path, argv, words):
    code, said = error_of([*argv, "--out", str(tmp_path)], capsys)
    assert code == 2 and said.startswith(f"error: {words}") and said.count("\n") == 1


def test_bvlc_caffe_that_is_not_installed_is_left_out(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("BVLC_ROOT", str(tmp_path / "none"))
    code, said = error_of(["--sides", "bvlc", "--out", str(tmp_path)], capsys)
    assert code == 2 and said.count("\n") == 1 and "tools/bvlc-caffe install" in said


def test_a_data_set_without_a_list_is_refused_before_anything_is_measured(capsys, tmp_path):
    argv = ["--data", str(tmp_path), "--out", str(tmp_path), "--measures", "score"]
    code, said = error_of(argv, capsys)
    assert code == 2 and said.count("\n") == 1 and "val.txt cannot be read" in said


def test_the_first_photographs_of_a_data_set_are_taken(data, tmp_path):
    from tools.benchmark import data as bench_data

    params, count = bench_data.score_source(str(tmp_path), str(data), 2)
    assert count == 2 and params["voc_dir"] == str(data)
    assert (tmp_path / "bench.txt").read_text() == "b1\nb2\n"
