"""`python -m caffe`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import caffe
from caffe import command, log as log_module
from caffe.command import flags, train
from caffe.engine import Error, InputError
from caffe.proto import text
from tests.helpers.net_texts import ip, layer

ENGINE = Path(__file__).resolve().parents[3] / "engine"
DATA = layer(
    "data", "DummyData", [], ["data", "label"],
    "dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } "
    'data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } }',
)  # fmt: skip
NET = (
    'name: "tiny" ' + DATA + ip("ip", "data") + layer("loss", "SoftmaxWithLoss", ["ip", "label"])
    + layer("extra", "Power", "ip", more='include { min_level: 2 stage: "x" }')
    + layer("acc", "Accuracy", ["ip", "label"], more="include { phase: TEST }")
)  # fmt: skip
SOLVER = (
    'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 20 display: 5 test_iter: 2 '
    'test_interval: 10 snapshot: 10 snapshot_prefix: "s" random_seed: 3 '
)


@pytest.fixture
def run(write, capfd, monkeypatch):
    """run(words) -> (exit code, stderr's messages without the log's prefix, stdout)."""
    write(NET)
    write(SOLVER, "solver.prototxt")
    write('name: "none"', "empty.prototxt")
    monkeypatch.setenv("GLOG_minloglevel", "0")

    def run(*words):
        with pytest.raises(SystemExit) as end:
            command.main(list(words))
        out, err = capfd.readouterr()
        lines = [re.sub(r"^[IWE]\d{4} .*?\] ", "", line) for line in err.splitlines()]
        return end.value.code, lines, out

    yield run
    log_module.set_min_level(None)


# -- train --------------------------------------------------------------------------------------


def test_training_logs_what_parse_log_reads(run):
    code, lines, _ = run("train", "-solver", "solver.prototxt")
    assert code == 0
    whole = "\n".join(lines)
    # Caffe's parse_log.py: these patterns, and a line with "Solving" to count seconds from.
    assert "Solving tiny" in whole
    assert [int(n) for n in re.findall(r"^Iteration (\d+), lr = [\d.e+-]+$", whole, re.M)] == [
        0, 5, 10, 15,
    ]  # fmt: skip
    assert len(re.findall(r"^Iteration (\d+)(?: \(.*\))?, loss = [\d.e+-]+$", whole, re.M)) == 5
    assert len(re.findall(r"Train net output #(\d+): (\S+) = ([.\deE+-]+)", whole)) == 4
    assert len(re.findall(r"Test net output #(\d+): (\S+) = ([.\deE+-]+)", whole)) == 6
    assert lines[0] == "Use CPU." and "Starting Optimization" in lines
    assert lines[-1] == "Optimization Done."
    assert os.path.exists("s_iter_20.solverstate") and os.path.exists("s_iter_10.caffemodel")


def test_training_goes_on_from_a_snapshot(run):
    run("train", "--solver=solver.prototxt")
    kept = Path("s_iter_20.caffemodel").read_bytes()
    Path("s_iter_20.caffemodel").unlink()
    code, lines, _ = run("train", "-solver=solver.prototxt", "--snapshot", "s_iter_10.solverstate")
    assert code == 0 and "Resuming from s_iter_10.solverstate" in lines
    assert Path("s_iter_20.caffemodel").read_bytes() == kept


def test_finetuning_begins_with_the_weights(run, write):
    run("train", "-solver", "solver.prototxt")
    untrained = SOLVER.replace("max_iter: 20", "max_iter: 0").replace("snapshot: 10", "snapshot: 0")
    write(untrained + 'weights: "unused"', "solver.prototxt")
    code, lines, _ = run("train", "-solver", "solver.prototxt", "-weights", "s_iter_20.caffemodel")
    assert code == 0 and "Finetuning from s_iter_20.caffemodel" in lines
    made = caffe.Net("net.prototxt", caffe.TEST, weights="s_iter_0.caffemodel")
    wanted = caffe.Net("net.prototxt", caffe.TEST, weights="s_iter_20.caffemodel")
    assert (made.params["ip"][0].data == wanted.params["ip"][0].data).all()


def test_level_and_stages_reach_the_training_net(write):
    write(NET)
    given = flags.Flags(solver=write(SOLVER, "solver.prototxt"), level=2, stage="x,y")
    assert "extra" in train.make_solver(given).net.layer_dict
    plain = flags.Flags(solver="solver.prototxt")
    assert "extra" not in train.make_solver(plain).net.layer_dict


@pytest.mark.parametrize(
    "number, effect, done, snapshots",
    [
        (signal.SIGINT, (), 7, ["s_iter_7"]),
        (signal.SIGTERM, (), 7, ["s_iter_7"]),
        (signal.SIGTERM, ("-sigint_effect", "none"), 7, ["s_iter_7"]),
        (signal.SIGHUP, (), 20, ["s_iter_10", "s_iter_20", "s_iter_7"]),
        (signal.SIGINT, ("-sigint_effect", "none"), 20, ["s_iter_10", "s_iter_20"]),
        (signal.SIGHUP, ("-sighup_effect=stop",), 7, ["s_iter_7"]),
    ],
)
def test_signals_stop_and_snapshot(run, monkeypatch, number, effect, done, snapshots):
    make = train.make_solver
    solvers = []

    def with_signal(*given):
        solver = make(*given)
        solver.add_callback(lambda: solver.iter == 6 and os.kill(os.getpid(), number))
        solvers.append(solver)
        return solver

    monkeypatch.setattr(train, "make_solver", with_signal)
    before = signal.getsignal(number)
    code, lines, _ = run("train", "-solver", "solver.prototxt", *effect)
    assert code == (128 + number if done == 7 else 0) and solvers[0].iter == done
    assert ("Optimization stopped early." in lines) == (done == 7)
    assert sorted(path.stem for path in Path().glob("*.solverstate")) == sorted(snapshots)
    assert signal.getsignal(number) == before


def test_an_error_in_the_training_comes_with_a_snapshot_of_what_was_learned(run, monkeypatch):
    make = train.make_solver

    def failing(*given):
        solver = make(*given)

        def fail():
            if solver.iter == 6:
                raise MemoryError("no room")

        solver.add_callback(fail)
        return solver

    monkeypatch.setattr(train, "make_solver", failing)
    code, lines, _ = run("train", "-solver", "solver.prototxt")
    assert code == 1
    assert lines[-1] == (
        "error: out of memory: no room; iteration 6 is in a snapshot: resume from it with -snapshot"
    )
    monkeypatch.setattr(train, "make_solver", make)
    assert run("train", "-solver", "solver.prototxt", "-snapshot", "s_iter_6.solverstate")[0] == 0


def test_a_snapshot_that_could_not_be_written_is_not_said_to_be_there(run, monkeypatch, write):
    make, saved = train.make_solver, []

    def failing(*given):
        solver = make(*given)
        write_snapshot = solver.snapshot

        def snapshot():
            saved.append(solver.iter)
            if len(saved) == 1:
                raise Error("no room")
            return write_snapshot()

        def fail():
            if solver.iter == 10:
                raise MemoryError("no room")

        solver.snapshot = snapshot
        solver.add_callback(fail)
        return solver

    monkeypatch.setattr(train, "make_solver", failing)
    code, lines, _ = run("train", "-solver", "solver.prototxt")
    assert code == 1 and "iteration 10 is in a snapshot" in lines[-1]
    assert saved == [10, 10] and Path("s_iter_10.solverstate").exists()


def test_a_last_snapshot_that_went_elsewhere_is_written_once(run, monkeypatch, tmp_path):
    make = train.make_solver
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def blocked(*given):
        solver = make(*given)
        solver.add_callback(lambda: solver.iter == 19 and Path("s_iter_20.caffemodel").mkdir())
        return solver

    monkeypatch.setattr(train, "make_solver", blocked)
    code, lines, _ = run("train", "-solver", "solver.prototxt")
    assert code == 1
    assert lines[-1].count("instead") == 1 and "no snapshot" not in lines[-1]
    assert len(list(tmp_path.glob("snapshot-*/*.solverstate"))) == 1


def test_a_training_that_diverges_ends_with_exit_code_1_and_no_snapshot_of_it(run, monkeypatch):
    make = train.make_solver

    def diverging(*given):
        solver = make(*given)
        weights = solver.net.params["ip"][0]
        solver.add_callback(lambda: solver.iter == 12 and weights.data.fill(float("inf")))
        return solver

    monkeypatch.setattr(train, "make_solver", diverging)
    code, lines, _ = run("train", "-solver", "solver.prototxt")
    assert code == 1 and "the weights of ip[0] are not finite" in lines[-1]
    assert [path.stem for path in Path().glob("*.solverstate")] == ["s_iter_10"]


@pytest.mark.slow
@pytest.mark.parametrize("output", ["gone", "full", "closed"])
def test_a_training_whose_output_is_lost_ends_as_it_would_have(write, tmp_path, output):
    write(NET)
    write(SOLVER, "solver.prototxt")
    env = {**os.environ, "PYTHONPATH": str(ENGINE), "GLOG_minloglevel": "0"}
    tail = {"gone": "2>&1 | head -1", "full": "2> /dev/full", "closed": "2>&-"}[output]
    script = f'"{sys.executable}" -m caffe train -solver solver.prototxt {tail}'
    subprocess.run(["bash", "-c", f"set -o pipefail; {script}"], env=env, check=True)
    assert Path("s_iter_20.solverstate").exists()


PRINTING = """import caffe

class Printing(caffe.Layer):
    def setup(self, bottom, top):
        self.passes = 0

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        self.passes += 1
        if self.passes > FIRST:
            print("pass", self.passes, flush=True)
        top[0].data[...] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize("tail", ["2> log | true", "2>&1 | head -1", "> /dev/full", ">&- 2>&-"])
def test_a_layer_that_prints_to_nobody_ends_no_training(write, tmp_path, first, tail):
    write(PRINTING.replace("FIRST", str(first)), "printing.py")
    own = """layer { name: "own" type: "Python" bottom: "ip" top: "own"
      python_param { module: "printing" layer: "Printing" } }
"""
    at = NET.index('layer { name: "loss"')
    write(NET[:at] + own + NET[at:].replace('bottom: "ip"', 'bottom: "own"'))
    write(SOLVER, "solver.prototxt")
    path = os.pathsep.join([str(ENGINE), str(tmp_path)])
    env = {**os.environ, "PYTHONPATH": path, "GLOG_minloglevel": "0"}
    script = f'"{sys.executable}" -m caffe train -solver solver.prototxt {tail}'
    subprocess.run(["bash", "-c", f"set -o pipefail; {script}"], env=env, check=True)
    assert Path("s_iter_20.solverstate").exists()


@pytest.mark.slow
def test_two_solvers_train_together(write, tmp_path):
    write(NET)
    write(SOLVER, "solver.prototxt")
    write(
        "from caffe.command import flags, parallel, train\n"
        "if __name__ == '__main__':\n"
        "    given = flags.Flags(solver='solver.prototxt')\n"
        "    with parallel.Others(given, [None, None]) as others:\n"
        "        solver = train.make_solver(given)\n"
        "        others.join(solver)\n"
        "        solver.solve()\n",
        "two.py",
    )
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ENGINE), CUDA_VISIBLE_DEVICES="")
    env["GLOG_minloglevel"] = "0"
    done = subprocess.run(
        [sys.executable, "two.py"], cwd=tmp_path, env=env, capture_output=True, text=True,
        timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Iteration 20, loss") == 1  # the second one is silent
    assert os.path.exists("s_iter_20.solverstate")


LOST = """
import os
from caffe import command
from caffe.command import flags, parallel, train
from caffe.training.solver import Solver

if __name__ == "__mp_main__":  # the other solver
    iterate = Solver._iterate

    def fail(solver):
        if solver.iter == 6:
            HOW
        iterate(solver)

    Solver._iterate = fail

if __name__ == "__main__":
    def main(words):
        given = flags.Flags(solver="solver.prototxt")
        with parallel.Others(given, [None, None]) as others:
            solver = train.make_solver(given)
            others.join(solver)
            train.solve(solver)
        return 0

    command._run = main
    command.main([])
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["os.kill(os.getpid(), 9)", "raise RuntimeError('a fault')"])
def test_a_lost_solver_ends_the_first_in_one_line_and_with_a_snapshot(write, tmp_path, how):
    write(NET)
    write(SOLVER, "solver.prototxt")
    write(LOST.replace("HOW", how), "two.py")
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ENGINE), CUDA_VISIBLE_DEVICES="")
    env["GLOG_minloglevel"] = "2"
    done = subprocess.run(
        [sys.executable, "two.py"], cwd=tmp_path, env=env, capture_output=True, text=True,
        timeout=90,
    )  # fmt: skip
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.stderr
    assert len(errors) == (2 if "raise" in how else 1)
    assert "solver 0: another solver is gone" in errors[-1]
    assert "iteration 6 is in a snapshot" in errors[-1]
    assert os.path.exists("s_iter_6.solverstate")


# -- test and time ------------------------------------------------------------------------------


def test_scores_are_logged_by_batch_and_as_means(run):
    run("train", "-solver", "solver.prototxt")
    code, lines, _ = run("test", "-model", "net.prototxt", "-weights", "s_iter_20.caffemodel",
                         "-iterations", "3")  # fmt: skip
    assert code == 0
    losses = [float(one.split(" = ")[1]) for one in lines if re.match(r"Batch \d, loss", one)]
    mean = next(one for one in lines if one.startswith("loss = "))
    value = float(re.match(r"loss = (\S+) \(\* 1 = \1 loss\)", mean)[1])
    assert len(losses) == 3 and value == pytest.approx(sum(losses) / 3, rel=1e-4)
    assert any(one.startswith("acc = ") for one in lines)
    assert f"Loss: {mean.split()[2]}" in lines and "Running for 3 iterations." in lines


def test_weights_that_lack_parameters_are_told_before_the_scores(run, write):
    run("train", "-solver", "solver.prototxt")
    more = """layer { name: "more" type: "InnerProduct" bottom: "ip" top: "more"
      inner_product_param { num_output: 2 } }"""
    write(NET + more, "longer.prototxt")
    given = ("-weights", "s_iter_20.caffemodel", "-iterations", "1")
    code, lines, _ = run("test", "-model", "longer.prototxt", *given)
    told = [line for line in lines if "has nothing for more[0], more[1]" in line]
    assert code == 0 and len(told) == 1


def test_weights_of_another_net_are_not_scored(run, write):
    run("train", "-solver", "solver.prototxt")
    write(NET.replace('name: "ip"', 'name: "other"'), "other.prototxt")
    given = ("-weights", "s_iter_20.caffemodel", "-iterations", "1")
    code, lines, _ = run("test", "-model", "other.prototxt", *given)
    assert code == 2 and "has no parameters of net" in lines[-1]


@pytest.mark.parametrize("phase", [(), ("-phase", "TEST")])
def test_time_tells_every_layers_passes(run, phase):
    code, lines, _ = run("time", "-model", "net.prototxt", "-iterations=2", *phase)
    assert code == 0
    for name in ["data", "ip", "loss"] + (["acc"] if phase else []):
        for way in ("forward", "backward"):
            pattern = rf"^ *{name}\t{way}: [\d.e+-]+ ms\.$"
            assert [one for one in lines if re.match(pattern, one)], (name, way)
    assert any(one.startswith("        ip\t") for one in lines)
    assert re.match(r"Total Time: [\d.e+-]+ ms\.", lines[-2])
    assert any(one.startswith("Iteration: 2 forward-backward time: ") for one in lines)


# -- upgrade ------------------------------------------------------------------------------------

OLD = (
    'input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4 layers { name: "c" '
    'type: CONVOLUTION bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 1 } '
    "blobs_lr: 2 blobs { num: 2 channels: 3 height: 1 width: 1 data: [1, 2, 3, 4, 5, 6] } }"
)


def test_old_nets_become_current_ones(run, write):
    write(OLD, "old.prototxt")
    code, lines, _ = run("upgrade_net_proto_text", "old.prototxt", "new.prototxt")
    assert code == 0 and lines == ["Wrote upgraded NetParameter text proto to new.prototxt"]
    net = text.parse(Path("new.prototxt").read_text(), caffe.proto.caffe_pb2.NetParameter())
    assert [one.type for one in net.layer] == ["Input", "Convolution"] and not net.input
    code, lines, _ = run("upgrade_net_proto_text", "new.prototxt", "newer.prototxt")
    assert code == 0 and "already in latest proto format" in lines[-1]
    assert Path("newer.prototxt").read_text() == Path("new.prototxt").read_text()


def test_old_weights_become_current_ones(run):
    old = text.parse(OLD, caffe.proto.caffe_pb2.NetParameter())
    Path("old.caffemodel").write_bytes(old.SerializeToString())
    code, _, _ = run("upgrade_net_proto_binary", "old.caffemodel", "new.caffemodel")
    assert code == 0
    net = caffe.proto.caffe_pb2.NetParameter.FromString(Path("new.caffemodel").read_bytes())
    assert list(net.layer[1].blobs[0].data) == [1, 2, 3, 4, 5, 6] and not net.layers


def test_old_solvers_become_current_ones(run, write):
    write('net: "n" solver_type: NESTEROV', "old.prototxt")
    code, lines, _ = run("upgrade_solver_proto_text", "old.prototxt", "new.prototxt")
    assert code == 0 and lines == ["Wrote upgraded SolverParameter text proto to new.prototxt"]
    assert 'type: "Nesterov"' in Path("new.prototxt").read_text()


TOOLS = {
    "upgrade_net_proto_text": "net.prototxt",
    "upgrade_solver_proto_text": "solver.prototxt",
    "upgrade_net_proto_binary": "old.caffemodel",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_what_the_upgrade_tools_have_not_written_is_kept(run, write, tool):
    write(SOLVER, "solver.prototxt")
    old = text.parse(OLD, caffe.proto.caffe_pb2.NetParameter())
    Path("old.caffemodel").write_bytes(old.SerializeToString())
    Path("new").write_text("# my notes\nname: 'mine'\n")
    code, lines, _ = run(tool, TOOLS[tool], "new")
    assert code == 2 and "error: new: the file that is there is not one that these" in lines[-1]
    assert Path("new").read_text().startswith("# my notes")
    Path("new").unlink()
    for _ in range(2):  # and what they have written is replaced, or the file itself renewed
        assert run(tool, TOOLS[tool], "new")[0] == 0
    assert run(tool, "new", "new")[0] == 0


def test_trained_weights_are_not_replaced_by_upgraded_ones(run):
    old = text.parse(OLD, caffe.proto.caffe_pb2.NetParameter())
    Path("old.caffemodel").write_bytes(old.SerializeToString())
    old.layers[0].blobs[0].data[0] = 7
    Path("trained.caffemodel").write_bytes(old.SerializeToString())
    before = Path("trained.caffemodel").read_bytes()
    assert run("upgrade_net_proto_binary", "old.caffemodel", "trained.caffemodel")[0] == 2
    assert Path("trained.caffemodel").read_bytes() == before


# -- calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["-{}={}", "--{}={}", "-{} {}", "--{} {}"])
def test_flags_are_read_as_gflags_reads_them(style):
    given = " ".join(["train", style.format("gpu", "0,1"), "-logtostderr=1", "--logtostderr",
                      style.format("stage", "a,b"), style.format("level", "-1")])  # fmt: skip
    words, found = flags.parse(given.split())
    assert words == ["train"] and found.stages == ["a", "b"]
    assert (found.gpu, found.level, found.iterations) == ("0,1", -1, 50)


@pytest.mark.parametrize(
    "words, message",
    [
        (("trian",), "no command 'trian'; did you mean train?"),
        (("x",), "no command 'x'; commands: train, test"),
        (("train",), "-solver FILE"),
        (("test",), "-model FILE"),
        (("test", "-model", "net.prototxt"), "-weights FILE"),
        (("time",), "-model FILE"),
        (("time", "more", "-model", "net.prototxt"), "'more' is not a flag"),
        (("train", "-solvr", "x"), "did you mean -solver"),
        (("train", "-solver"), "-solver needs a value"),
        (("train", "-solver", "nowhere"), "-solver nowhere: no such file (the working folder is"),
        (("train", "-solver", "solvr.prototxt"), "no such file; did you mean solver.prototxt?"),
        (("train", "-solver", "in/solver.prototxt", "-gpu", "99"), "there is no folder in"),
        (("train", "-solver", "."), "-solver .: is a folder"),
        (("train", "-solver", "solver.prototxt", "-weights", ",b"), "behind a comma"),
        (
            ("train", "-solver", "solver.prototxt", "-weights", "nowhere"),
            "-weights nowhere: no such",
        ),
        (
            ("train", "-solver", "solver.prototxt", "-snapshot", "nowhere"),
            "-snapshot nowhere: no such",
        ),
        (("train", "-solver", "s", "-snapshot", "a", "-weights", "b"), "not both"),
        (("train", "-solver", "solver.prototxt", "-gpu", "99"), "99"),
        (("train", "-solver", "solver.prototxt", "-gpu", "a"), "'a' is not a GPU's number"),
        (("train", "-solver", "solver.prototxt", "-sigint_effect", "die"), "stop, snapshot, none"),
        (("time", "-model", "net.prototxt", "-phase", "VAL"), "TRAIN or TEST"),
        (("time", "-model", "net.prototxt", "-iterations", "0"), "at least 1"),
        (("time", "-model", "net.prototxt", "-iterations", "x"), "not a whole number"),
        (("time", "-model", "net.prototxt", "-level", "4294967296"), "-level 4294967296"),
        (("time", "-model", "empty.prototxt"), "empty.prototxt: no layer of this net is there"),
        (("train", "-log_dir", "x"), "no log files are written"),
        (("upgrade_net_proto_text", "a"), "OLD NEW"),
        (("upgrade_net_proto_text", "nowhere", "b"), "nowhere: no such file"),
        (("upgrade_net_proto_text", "net.prototxt", "."), "is a folder"),
        (("upgrade_net_proto_binary", "net.prototxt", "b"), "not a caffemodel"),
    ],
)
def test_wrong_calls_are_one_line_and_exit_2(run, words, message):
    code, lines, _ = run(*words)
    errors = [line for line in lines if line.startswith("error: ")]
    assert code == 2 and len(errors) == 1 and lines[-1] == errors[0] and message in errors[0]


def test_a_solver_that_asks_for_a_missing_gpu_is_named(run, write, monkeypatch):
    monkeypatch.setattr("caffe.compute.device.cuda_device_count", lambda: 0)
    write(SOLVER + "solver_mode: GPU", "solver.prototxt")
    code, lines, _ = run("train", "-solver", "solver.prototxt")
    assert code == 2 and "solver.prototxt: solver_mode: GPU: no such GPU: 0" in lines[-1]


def test_a_flag_without_effect_is_warned_of(run):
    code, lines, _ = run("time", "-model", "net.prototxt", "-iterations", "1", "-weights", "x")
    assert code == 0 and lines[0] == "-weights has no effect on 'time'"


def test_the_log_can_be_silenced(run):
    code, lines, _ = run("train", "-solver", "solver.prototxt", "-minloglevel=2")
    assert code == 0 and lines == []


def test_usage_is_shown_when_asked_for_or_needed(run):
    code, lines, out = run("-help")
    assert code == 0 and "usage: python -m caffe" in out and not lines
    code, lines, out = run()
    assert code == 2 and any("usage: " in line for line in lines)


def test_an_interrupted_run_ends_with_130(run, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "make_solver", interrupted)
    code, lines, _ = run("train", "-solver", "solver.prototxt")
    assert code == 130 and lines[-1] == "interrupted"


def test_unforeseen_errors_name_their_kind(run, monkeypatch):
    def broken(*given):
        raise IndexError("layer 3\nof 2")

    monkeypatch.setattr(train, "make_solver", broken)
    code, lines, _ = run("train", "-solver", "solver.prototxt")
    assert code == 1
    assert re.fullmatch(
        r"error: IndexError: layer 3 of 2 \(\S+test_command.py:\d+; TRACEBACK=1 shows more\)",
        lines[-1],
    )
    monkeypatch.setenv("TRACEBACK", "1")
    with pytest.raises(IndexError):
        command.main(["train", "-solver", "solver.prototxt"])


def test_device_query_shows_devices_or_says_that_there_are_none(run):
    code, lines, _ = run("device_query")
    if caffe.engine.cuda_device_count():
        assert code == 0 and any(line.startswith("Name:") for line in lines)
    else:
        assert code == 2 and "no CUDA device" in lines[-1]


def test_a_gpu_named_twice_is_refused(monkeypatch):
    from caffe.command import devices

    monkeypatch.setattr("caffe.compute.device.cuda_device_count", lambda: 2)
    assert (
        devices.gpus("all") == [0, 1] and devices.gpus("1,0") == [1, 0] and devices.gpus("") == []
    )
    with pytest.raises(InputError, match="twice"):
        devices.gpus("1,1")
