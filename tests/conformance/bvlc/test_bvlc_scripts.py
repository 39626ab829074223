"""The toolkit's own scripts, run unchanged under BVLC Caffe's Python 3.9 and under the engine."""

from __future__ import annotations

import json
import re
import subprocess

import numpy as np
import pytest

from tests.conformance import both, pictures, report
from tests.conformance.nets import conv, data, ip, layer

NET = both.REPO / "prototxt" / "nets" / "voc" / "dilated-fcn2s-vgg16"
# The trunk's widths and what they become, so that ten iterations take seconds.
THIN = {"64": "8", "128": "8", "256": "16", "512": "16", "4096": "32"}


def start(side, *arguments, threads=1, log_level=2):
    return subprocess.Popen(
        [*both.command(side), *map(str, arguments)],
        env=dict(both.environment(side, threads), GLOG_minloglevel=str(log_level)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=both.REPO,
    )


def end(process, timeout=300):
    """(stdout, stderr) of a script that must succeed."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\nno end after {timeout} s"
    assert process.returncode == 0, f"{process.args} ended with {process.returncode}\n{err[-3000:]}"
    return out, err


def on_both(arguments_of, log_level=2):
    """Run a script under both at once; `arguments_of(side)` gives its command line."""
    started = {side: start(side, *arguments_of(side), log_level=log_level) for side in both.SIDES}
    return {side: end(process) for side, process in started.items()}


def thin(text):
    """The published net with narrower layers; score layers keep their 21 classes."""
    widths = re.compile(r"num_output: (\d+)\b")
    return widths.sub(lambda m: f"num_output: {THIN.get(m.group(1), m.group(1))}", text)


def reading(text, voc):
    """The net with a data layer that reads the data set in `voc`."""
    text, count = re.subn(r"'voc_dir': '[^']*'", f"'voc_dir': '{voc}'", text)
    assert count == 1
    # The reduced val split is of the full VOC; here it is all there is.
    return re.sub(r"'split': '(?!train)[^']*'", "'split': 'val'", text)


def weights_of(path, prototxt):
    args = {"prototxt": prototxt, "weights_file": str(path)}
    return both.run("bvlc", "load_weights", args, timeout=120)


@pytest.fixture(scope="module")
def tiny(real_data, tmp_path_factory):
    """A folder with a small data set and thin nets that read it."""
    folder = tmp_path_factory.mktemp("tiny")
    pictures.write_voc(folder / "voc", real_data)
    for name in ("train", "val"):
        text = reading(thin((NET / f"{name}.prototxt").read_text()), folder / "voc")
        text = text.replace("dropout_ratio: 0.5", "dropout_ratio: 0")
        (folder / f"{name}.prototxt").write_text(text)
    return folder


def test_generate_writes_the_same_bytes(tmp_path):
    on_both(lambda side: ["-m", "prototxt.generate", "--out", tmp_path / side])
    files = {}
    for side in both.SIDES:
        root = tmp_path / side
        found = [p for p in sorted(root.rglob("*")) if p.is_file()]
        text = {str(p.relative_to(root)): p.read_text() for p in found}
        files[side] = {k: v.replace(str(root), "OUT") for k, v in text.items()}
    assert len(files["bvlc"]) >= 16
    assert files["bvlc"] == files["engine"]
    for name, text in files["bvlc"].items():
        committed = (both.REPO / "prototxt" / "nets" / name).read_text()
        assert text.replace("OUT/", "prototxt/nets/") == committed, f"{name} is stale"
    report.record("scripts", "prototxt.generate: to the byte", cases=len(files["bvlc"]))


VGG = """
name: "thin VGG with fc6 and fc7 as inner products, as Oxford's release has them"
"""


def thin_vgg():
    """Oxford's VGG-16 as prototxt, with THIN's widths: 13 convolutions, fc6, fc7, fc8."""
    lines, bottom, name = [VGG, data(1, 3, 224, 224)], "data", ""
    for stage, (count, width) in enumerate([(2, 8), (2, 8), (3, 16), (3, 16), (3, 16)], 1):
        for i in range(1, count + 1):
            name = f"conv{stage}_{i}"
            lines.append(
                conv(name, bottom, width).replace("kernel_size: 3", "kernel_size: 3 pad: 1")
            )
            bottom = name
        pool = "pooling_param { kernel_size: 2 stride: 2 }"
        lines.append(layer(f"pool{stage}", "Pooling", bottom, more=pool))
        bottom = f"pool{stage}"
    lines += [ip("fc6", bottom, 32), ip("fc7", "fc6", 32), ip("fc8", "fc7", 10)]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def trunk(tiny):
    """A caffemodel with random VGG weights."""
    args = {"prototxt": thin_vgg(), "folder": str(tiny), "param_scale": 0.12}
    both.run("bvlc", "save_weights", args)
    return tiny / "w.caffemodel"


@pytest.mark.parametrize(
    "more", [[], ["--fc6", "flat"], ["--drop", "fc6", "--fill-missing", "msra"]]
)
def test_make_init_writes_the_same_weights(tiny, trunk, tmp_path, more):
    def arguments(side):
        out = tmp_path / f"{side}.caffemodel"
        net = tiny / "train.prototxt"
        return ["surgery/make_init.py", "--net", net, "--from", trunk, "--out", out, *more]

    said = on_both(arguments)
    words = {side: out.replace(side, "SIDE") for side, (out, _) in said.items()}
    assert words["bvlc"] == words["engine"]
    text = (tiny / "train.prototxt").read_text()
    made = [weights_of(tmp_path / f"{side}.caffemodel", text) for side in both.SIDES]
    assert len(made[0]) > 40
    for name, value in made[0].items():
        assert np.array_equal(value, made[1][name]), name
    report.record("scripts", f"make_init.py {' '.join(more)}: to the bit")


def losses(log):
    return [float(x) for x in re.findall(r"Iteration \d+.*loss = ([-+.\deinf]+)", log)]


def test_solve_trains_alike(tiny, trunk, tmp_path):
    init = tmp_path / "init.caffemodel"
    net = tiny / "train.prototxt"
    end(start("bvlc", "surgery/make_init.py", "--net", net, "--from", trunk, "--out", init))

    def arguments(side):
        folder = tmp_path / side
        folder.mkdir()
        lines = (NET / "solver.prototxt").read_text().splitlines()
        kept = [k for k in lines if not k.startswith(("train_net", "test_net", "snapshot_prefix"))]
        kept += [f'train_net: "{net}"', f'test_net: "{tiny}/val.prototxt"']
        kept += [f'snapshot_prefix: "{folder}/train"']
        (folder / "solver.prototxt").write_text("\n".join(kept) + "\n")
        command = ["solvers/solve.py", "--solver", folder / "solver.prototxt", "--weights", init]
        sets = ["--set", "display=1", "--set", "average_loss=1", "--set", "base_lr=1e-9"]
        return [*command, "--cpu", "--iterations", 10, *sets]

    said = on_both(arguments, log_level=0)
    text = net.read_text()
    made = [weights_of(tmp_path / s / "train_iter_10.caffemodel", text) for s in both.SIDES]
    before = weights_of(init, text)
    changed = [name for name in before if not np.array_equal(before[name], made[0][name])]
    assert len(changed) >= 10
    report.record("scripts", "solve.py, 10 iterations", both.compare(*made, 1e-4))
    # The log's own lines, as parsers of Caffe's logs read them.
    logs = [losses("".join(said[side])) for side in both.SIDES]
    assert len(logs[0]) == len(logs[1]) >= 10
    assert np.allclose(*logs, rtol=1e-4)


def test_score_prints_the_same_digits(real_data, tmp_path):
    """The full net, on the real photographs at their full size."""
    if real_data is None:
        voc = tmp_path / "voc"
        pictures.write_voc(voc, None, resized=lambda *pair: pair)
    else:
        voc = real_data / "voc-samples"
    net = tmp_path / "val.prototxt"
    net.write_text(reading((NET / "val.prototxt").read_text(), voc))
    args = {"net": str(NET / "train.prototxt"), "folder": str(tmp_path), "with_weights": True}
    args["shape"] = [1, 3, 64, 64]
    both.run("bvlc", "published_net", args, timeout=120, threads=2)
    said, reports, pictures_of = {}, {}, {}
    for side in both.SIDES:  # one after the other: a full net takes 4 GB
        out = tmp_path / side
        command = ["tools/score.py", "--net", net, "--weights", tmp_path / "w.caffemodel", "--cpu"]
        command += ["--task", "voc", "--json", f"{out}.json", "--save-dir", out]
        said[side], _ = end(start(side, *command, threads=2), 400)
        reports[side] = json.loads((tmp_path / f"{side}.json").read_text())
        pictures_of[side] = {p.name: p.read_bytes() for p in sorted(out.glob("*.png"))}
    (tmp_path / "w.caffemodel").unlink()
    assert "mean IU" in said["bvlc"]
    assert said["bvlc"] == said["engine"]
    # Beyond the printed digits: the loss is a sum of floats, all else counts of pixels.
    error = both.relative_error(reports["bvlc"].pop("loss"), reports["engine"].pop("loss"))
    assert error < 1e-5
    assert len(np.unique(np.nonzero(reports["bvlc"]["hist"])[1])) > 1
    moved = (
        np.abs(np.subtract(reports["bvlc"].pop("hist"), reports["engine"].pop("hist"))).sum() / 2
    )
    report.record(
        "scripts", f"score.py: same digits; pixels that differ: {moved:.0f}", {"loss": error}
    )
    assert moved <= 2
    assert list(pictures_of["bvlc"]) == list(pictures_of["engine"]) != []
