from __future__ import annotations

import json
import re
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

import caffe
from tools import score
from tools.common import cli, metrics
from tools.common.nets import read_net
from tools.common.score_tables import snapshot_table

MEAN = (104.0, 116.0, 122.0)
SIZES = [(7, 9), (8, 6), (5, 11)]
IDS = ["a_1", "b_2", "c_3"]
CLASSES = 4


def write_data(root):
    """Three small images in VOC layout; returns their labels."""
    rng = np.random.RandomState(0)
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    labels = []
    for name, (height, width) in zip(IDS, SIZES):
        image = rng.randint(0, 256, (height, width, 3)).astype(np.uint8)
        Image.fromarray(image).save(root / "JPEGImages" / f"{name}.jpg")
        label = rng.randint(0, 3, (height, width)).astype(np.uint8)
        label[0, :3] = 255
        Image.fromarray(label).save(root / "SegmentationClass" / f"{name}.png")
        labels.append(label)
    (root / "ImageSets/Segmentation/val.txt").write_text("\n".join(IDS))
    return labels


def net_text(params, head="loss"):
    loss = (
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"'
        " loss_param { ignore_label: 255 normalize: false } }\n"
    )
    return (
        'layer { name: "data" type: "Python" top: "data" top: "label" python_param {'
        f' module: "voc_layers" layer: "VOCSegDataLayer" param_str: "{params}" }} }}\n'
        'layer { name: "score" type: "Convolution" bottom: "data" top: "score"'
        f" convolution_param {{ num_output: {CLASSES} kernel_size: 1 }} }}\n"
        + (loss if head == "loss" else 'layer { name: "s" type: "Silence" bottom: "label" }\n')
    )


@pytest.fixture
def work(tmp_path):
    """A val net on real files, with weights: paths, params, labels, and `write(params)`."""
    labels = write_data(tmp_path / "voc")
    params = {"voc_dir": str(tmp_path / "voc"), "split": "val", "mean": MEAN, "classes": CLASSES}
    path = tmp_path / "val.prototxt"

    def write(head="loss", **more):
        path.write_text(net_text({**params, **more}, head))

    write()
    caffe.set_mode_cpu()
    net = caffe.Net(str(path), caffe.TEST)
    rng = np.random.RandomState(1)
    net.params["score"][0].data[...] = rng.randn(CLASSES, 3, 1, 1)
    weights = str(tmp_path / "w.caffemodel")
    net.save(weights)
    return SimpleNamespace(
        root=tmp_path, net=str(path), weights=weights, labels=labels, write=write, params=params
    )


def run(work, *more, weights=None):
    """(exit code) of score.py on the work's net, with its weights or those given."""
    weights = [work.weights] if weights is None else weights
    argv = ["--net", work.net, "--weights", *map(str, weights), "--cpu", *map(str, more)]
    with pytest.raises(SystemExit) as caught:
        cli.run(score.main, argv)
    return caught.value.code


def edit(work, change):
    path = Path(work.net)
    path.write_text(change(path.read_text()))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def relabel(work, change):
    path = work.root / "voc/SegmentationClass/b_2.png"
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


def by_hand(truth, prediction):
    """The four metrics, pixel by pixel and class by class, as the formulas say."""
    n = np.zeros((CLASSES, CLASSES))
    for i, j in zip(truth, prediction):
        if i < CLASSES:
            n[i, j] += 1
    t = n.sum(1)
    ious = [
        n[i, i] / (t[i] + n[:, i].sum() - n[i, i]) if t[i] + n[:, i].sum() else None
        for i in range(CLASSES)
    ]
    accuracies = [n[i, i] / t[i] for i in range(CLASSES) if t[i]]
    known = [u for u in ious if u is not None]
    return (
        sum(n[i, i] for i in range(CLASSES)) / t.sum(),
        sum(accuracies) / len(accuracies),
        sum(known) / len(known),
        sum(t[i] * ious[i] for i in range(CLASSES) if t[i]) / t.sum(),
    )


FOUR = ("pixel_accuracy", "mean_accuracy", "mean_iu", "fw_iu")
PIXELS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 3, 255]), st.integers(0, CLASSES - 1)), min_size=1
)


@settings(deadline=None)
@given(PIXELS)
def test_metrics_are_the_formulas(pixels):
    truth, prediction = (np.array(p) for p in zip(*pixels))
    hist = score.fast_hist(truth.astype(np.float32), prediction, CLASSES)
    assert hist.dtype == np.int64 and hist.sum() == (truth < CLASSES).sum()
    got = score.metrics(hist)
    if not hist.sum():
        assert all(np.isnan(got[key]) for key in FOUR[:3])
        return
    np.testing.assert_allclose([got[key] for key in FOUR], by_hand(truth, prediction))


def test_class_that_is_nowhere_is_left_out_of_the_means():
    got = score.metrics(np.diag([5, 0, 3]))
    assert got["mean_iu"] == got["mean_accuracy"] == 1.0
    assert np.isnan(got["iu"][1])


def test_class_that_is_only_predicted_has_iu_zero():
    got = score.metrics(np.array([[4, 1], [0, 0]]))
    assert got["iu"].tolist() == [0.8, 0.0] and got["mean_iu"] == 0.4
    assert got["mean_accuracy"] == 0.8


def test_pixel_accuracy_does_not_overflow_on_many_pixels():
    got = score.metrics(np.array([[2**40, 0], [0, 2**40]], np.int64))
    assert [got[key] for key in FOUR] == [1.0] * 4


NAMES = ["sky", "road", "car", "tree"]
RULE = "mean IU counts a class that is in no label as 0 where the net predicts it"


@pytest.mark.parametrize(
    ("hist", "said"),
    [
        (np.ones((4, 4)), []),
        (np.diag([1, 2, 3, 0]) + [[0, 0, 0, 5], *[[0] * 4] * 3],
         ["1 of 4 classes are in no label of these images (tree): mean accuracy is over the other"
          " 3; "]),
        (np.diag([0, 2, 0, 0]), ["all labelled pixels are of one class, road: "]),
        (np.zeros((4, 4)), ["every labelled pixel is void"]),
    ],
)  # fmt: skip
def test_what_labels_leave_out_is_told_beside_the_scores(hist, said):
    found = metrics.cautions(hist.astype(np.int64), NAMES)
    assert len(found) == len(said)
    for line, begin in zip(found, said):
        assert line.startswith(begin) and (RULE in line or "void" in line)


def test_of_many_absent_classes_a_few_are_named():
    hist = np.zeros((30, 30), np.int64)
    hist[0, 0] = hist[1, 1] = 1
    (line,) = metrics.cautions(hist, [f"c{i}" for i in range(30)])
    assert line.startswith("28 of 30 classes") and "(c2, c3, c4, c5, c6, …)" in line


def test_the_rule_of_the_means_is_what_the_scores_do():
    """A class in no label: 0 in mean IU where it is predicted, else left out."""
    assert score.metrics(np.array([[4, 0, 0], [0, 4, 0], [0, 0, 0]]))["mean_iu"] == 1
    assert score.metrics(np.array([[4, 0, 4], [0, 4, 0], [0, 0, 0]]))["mean_iu"] == 0.5


@pytest.mark.parametrize("classes", [1, 2])
def test_a_split_without_some_classes_is_scored_with_a_warning(work, capsys, classes):
    for path in (work.root / "voc/SegmentationClass").glob("*.png"):
        label = np.array(Image.open(path))
        Image.fromarray(np.where(label == 255, label, label % classes)).save(path)
    assert run(work) == 0
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    one = "warning: all labelled pixels are of one class, 0: "
    assert said.startswith(one if classes == 1 else "warning: 2 of 4 classes are in no label")


def test_a_split_of_void_is_refused(work, capsys):
    for path in (work.root / "voc/SegmentationClass").glob("*.png"):
        Image.fromarray(np.full_like(Image.open(path), 255)).save(path)
    assert run(work) == 2
    assert "every labelled pixel of its 3 images is void (255)" in capsys.readouterr().err


def test_a_loss_of_minus_zero_is_printed_as_zero():
    lines = snapshot_table(score.metrics(np.ones((2, 2))), -0.0, ["a", "b"])
    assert lines[-1].split() == ["loss", "0"]


def test_compute_hist_counts_every_image_once(work):
    net = caffe.Net(work.net, caffe.TEST, weights=work.weights)
    hist, loss = score.compute_hist(net, None, IDS)
    want = np.zeros((CLASSES, CLASSES), np.int64)
    other = caffe.Net(work.net, caffe.TEST, weights=work.weights)
    losses = []
    for label in work.labels:
        other.forward()
        prediction = other.blobs["score"].data[0].argmax(0)
        want += score.fast_hist(label.ravel(), prediction.ravel(), CLASSES)
        losses.append(float(other.blobs["loss"].data))
    np.testing.assert_array_equal(hist, want)
    assert hist.sum() == sum((label < 255).sum() for label in work.labels)
    assert loss == pytest.approx(np.mean(losses))


def test_predictions_are_saved_as_palette_pngs_of_class_numbers(work, tmp_path):
    net = caffe.Net(work.net, caffe.TEST, weights=work.weights)
    score.do_seg_tests(net, 7, str(tmp_path / "at-{}"), IDS)
    again = caffe.Net(work.net, caffe.TEST, weights=work.weights)
    for name in IDS:
        again.forward()
        with Image.open(tmp_path / "at-7" / f"{name}.png") as image:
            assert image.mode == "P" and image.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
            np.testing.assert_array_equal(np.asarray(image), again.blobs["score"].data[0].argmax(0))


def test_seg_tests_shares_the_training_nets_weights_and_prints_the_known_lines(work, capsys):
    train = caffe.Net(work.net, caffe.TEST, weights=work.weights)
    test = caffe.Net(work.net, caffe.TEST)
    solver = SimpleNamespace(net=train, test_nets=[test], iter=40)
    hist = score.seg_tests(solver, False, IDS)
    np.testing.assert_array_equal(hist, score.compute_hist(train, "", IDS)[0])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and all(line.startswith(">>> ") for line in lines)
    for line, words in zip(
        lines[1:], ("loss", "overall accuracy", "mean accuracy", "mean IU", "fwavacc")
    ):
        text, value = line.rsplit(" ", 1)
        assert text.endswith(f"Iteration 40 {words}") and float(value) >= 0


def test_scores_that_are_not_finite_stop_the_scoring(work):
    net = caffe.Net(work.net, caffe.TEST, weights=work.weights)
    net.params["score"][1].data[...] = np.nan
    with pytest.raises(cli.Failure, match="a_1.*diverged"):
        score.compute_hist(net, None, IDS)


def test_missing_blob_is_named(work):
    net = caffe.Net(work.net, caffe.TEST, weights=work.weights)
    with pytest.raises(cli.UserError, match="no blob 'scores'; it has data, label, score"):
        score.compute_hist(net, None, IDS, layer="scores")


def test_script_prints_a_table_and_writes_json(work, capsys):
    out = work.root / "deep" / "scores.json"
    assert run(work, "--json", out, "--save-dir", work.root / "masks") == 0
    text = capsys.readouterr().out
    got = json.loads(out.read_text())
    assert got["images"] == IDS and len(got["classes"]) == CLASSES
    want = score.metrics(np.array(got["hist"]))
    for key, label in zip(FOUR, ("pixel accuracy", "mean accuracy", "mean IU", "f.w. IU")):
        assert got[key] == want[key]
        (line,) = [line for line in text.splitlines() if line.startswith(label)]
        assert line.split()[-1] == f"{100 * want[key]:.2f}"
    assert sorted(p.stem for p in (work.root / "masks").iterdir()) == IDS


def test_net_without_a_loss_is_scored_too(work, capsys):
    work.write(head="none")
    assert run(work, "--json", work.root / "s.json") == 0
    assert json.loads((work.root / "s.json").read_text())["loss"] is None
    assert "loss" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda w: (w.root / "voc/JPEGImages/b_2.jpg").unlink(), "b_2.jpg: no such image"),
        (lambda w: (w.root / "voc/ImageSets/Segmentation/val.txt").write_text(""), "empty"),
        (lambda w: cut(w.root / "voc/JPEGImages/b_2.jpg"), "b_2.jpg: (cannot be read|not a)"),
        (lambda w: relabel(w, lambda label: label[:-1]), "b_2.png: .* one size"),
        (lambda w: relabel(w, lambda label: label * 0 + 99), "b_2.png: label 99 at row 0"),
        (lambda w: edit(w, lambda text: text.replace("Convolution", "Convo")), "'score'.*Convo"),
        (lambda w: edit(w, lambda text: text.replace('bottom: "data"', 'bottom: "dta"')), "'dta'"),
        (lambda w: edit(w, lambda text: text.replace("num_output: ", "num_output: 1")), "'score'"),
        (lambda w: w.write(split="test"), "test.txt: no such split file"),
        (lambda w: w.write(spilt="val"), "did you mean 'split'"),
        (lambda w: edit(w, lambda text: text + "layer { nmae: 'x' }"), "val.prototxt:.*nmae"),
        (lambda w: edit(w, lambda text: "name: 'x'"), "no Python data layer"),
        (lambda w: setattr(w, "net", "no.prototxt"), "no.prototxt: no such file"),
        (lambda w: setattr(w, "weights", "no.caffemodel"), "--weights no.caffemodel: no such file"),
        (lambda w: Path(w.weights).write_bytes(b""), "w.caffemodel: the file is empty"),
        (lambda w: Path(w.weights).write_bytes(Path(w.weights).read_bytes()[:60]), "damaged"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(work, capsys, spoil, said):
    spoil(work)
    assert run(work) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1
    assert err[0].startswith("error: ") and re.search(said, err[0]), err


def test_random_order_is_refused(work, capsys):
    splits = work.root / "voc/ImageSets/Segmentation"
    (splits / "val.txt").rename(splits / "train.txt")
    work.write(split="train")
    assert run(work) == 2
    assert "'randomize': False" in capsys.readouterr().err
    work.write(split="train", randomize=False)
    assert run(work) == 0


def test_weights_of_zero_are_warned_of(work, capsys):
    caffe.Net(work.net, caffe.TEST).save(work.weights)
    assert run(work) == 0
    assert "all weights of score are 0" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(caffe, "engine"), reason="BVLC Caffe imports any module")
def test_modules_that_are_no_data_layers_are_not_imported(work, capsys):
    edit(work, lambda text: text.replace('"voc_layers"', '"antigravity"'))
    assert run(work) == 2
    assert "antigravity" in capsys.readouterr().err
    assert "antigravity" not in sys.modules


@pytest.fixture
def snapshots(work):
    """Three snapshots of the work's net; the first gets every pixel's class at random."""
    paths = []
    for number in range(3):
        net = caffe.Net(work.net, caffe.TEST)
        rng = np.random.RandomState(10 + number)
        net.params["score"][0].data[...] = rng.randn(CLASSES, 3, 1, 1)
        net.params["score"][1].data[...] = rng.randn(CLASSES)
        paths.append(work.root / f"train_iter_{number}000.caffemodel")
        net.save(str(paths[-1]))
    return paths


def json_of(work, *weights):
    out = work.root / "scores.json"
    assert run(work, "--json", out, weights=weights) == 0
    return json.loads(out.read_text())


@pytest.mark.slow
def test_several_snapshots_are_scored_as_each_alone(work, snapshots, capsys):
    alone = [json_of(work, path) for path in snapshots]
    assert json_of(work, *snapshots) == alone
    assert len({report["mean_iu"] for report in alone}) == 3


def test_the_net_is_read_once_however_many_snapshots(work, snapshots, prototxts_read):
    assert run(work, weights=snapshots) == 0
    assert prototxts_read == {"val.prototxt": 1}


@pytest.mark.slow
def test_several_snapshots_are_compared(work, snapshots, capsys):
    out = work.root / "scores.json"
    assert run(work, "--json", out, weights=snapshots) == 0
    text = capsys.readouterr().out
    reports = json.loads(out.read_text())
    summary, classes = (part.splitlines() for part in text.split("\n\n")[1:])
    assert re.split(" {2,}", summary[0])[1:] == [
        *("pixel accuracy", "mean accuracy", "mean IU", "f.w. IU", "loss")
    ]
    for number, (line, report) in enumerate(zip(summary[1:], reports)):
        assert line.startswith(f"#{number + 1} train_iter_{number}000.caffemodel ")
        values = line.split()[2:]
        for value, key in zip(values, FOUR):
            best = report[key] == max(r[key] for r in reports)
            assert value == f"{100 * report[key]:.2f}" + "*" * best
        assert values[4].endswith("*") == (report["loss"] == min(r["loss"] for r in reports))
    assert classes[0].split()[-3:] == ["#1", "#2", "#3"] and len(classes) == CLASSES + 1
    for c, line in enumerate(classes[1:]):
        assert line.split() == [str(c)] + [f"{100 * r['classes'][c]['iu']:.2f}" for r in reports]


MORE = (
    'layer { name: "low" type: "InnerProduct" bottom: "score" top: "low" '
    "inner_product_param { num_output: 2 } }\n"
)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("form", ["caffemodel", "h5"])
@pytest.mark.parametrize("lacks", ["all", "one"])
def test_weights_that_lack_a_layer_are_refused_before_a_picture_is_read(
    work, snapshots, capsys, monkeypatch, lacks, form, several
):
    other = work.root / f"other.{form}"
    net = caffe.Net(work.net, caffe.TEST)
    if lacks == "all":
        text = Path(work.net).read_text().replace('name: "score"', 'name: "else"')
        (work.root / "other.prototxt").write_text(text)
        net = caffe.Net(str(work.root / "other.prototxt"), caffe.TEST)
        said = f"{other}: has weights for no layer of {work.net}: it has else, and the net needs sc"
    else:
        edit(work, lambda text: text + MORE)
        said = f"{other}: has no weights for low of {work.net}; are they of another net?"
    (net.save_hdf5 if form == "h5" else net.save)(str(other))
    monkeypatch.setattr("segmentation.pictures.read_picture", None)
    capsys.readouterr()
    assert run(work, weights=[*snapshots[:1] * several, other]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0] or (several and lacks == "one" and "for low of" in lines[0])


def test_one_net_is_in_memory_at_a_time(work, snapshots, monkeypatch):
    alive, most = weakref.WeakSet(), []

    class Net(caffe.Net):
        def __init__(self, *arguments, **keywords):
            most.append(len(alive))
            super().__init__(*arguments, **keywords)
            alive.add(self)

    monkeypatch.setattr(caffe, "Net", Net)
    assert run(work, weights=snapshots) == 0
    assert len(most) >= 3 and max(most) == 0


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda p: p.unlink(), "train_iter_2000.caffemodel: no such file"),
        (lambda p: p.write_bytes(b""), "train_iter_2000.caffemodel: the file is empty"),
        (cut, "train_iter_2000.caffemodel.*damaged"),
        (lambda p: p.write_bytes(p.with_name("wide.caffemodel").read_bytes()), "'score'.*shape"),
    ],
)
def test_a_bad_snapshot_stops_all_before_the_first_is_scored(
    work, snapshots, capsys, monkeypatch, spoil, said
):
    wide = work.root / "wide.prototxt"
    wide.write_text(net_text(work.params, "none").replace("kernel_size: 1", "kernel_size: 2"))
    caffe.Net(str(wide), caffe.TEST).save(str(wide.with_suffix(".caffemodel")))
    capsys.readouterr()
    spoil(snapshots[2])
    monkeypatch.setattr(score, "compute_hist", None)
    assert run(work, weights=snapshots) == 2
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and re.search(said, errors[0]) and "Traceback" not in err
    assert out == ""


def test_a_snapshot_given_twice_is_refused(work, snapshots, capsys):
    same = snapshots[0].parent / "." / ".." / work.root.name / snapshots[0].name
    assert run(work, weights=[snapshots[0], same]) == 2
    assert "given twice" in capsys.readouterr().err


@pytest.mark.slow
def test_a_diverged_snapshot_leaves_the_others_scores(work, snapshots, capsys):
    net = caffe.Net(work.net, caffe.TEST)
    net.params["score"][1].data[...] = np.nan
    net.save(str(snapshots[1]))
    out = work.root / "scores.json"
    assert run(work, "--json", out, weights=snapshots) == 1
    said = capsys.readouterr()
    assert [Path(r["weights"]).name[:12] for r in json.loads(out.read_text())] == [
        "train_iter_0",
        "train_iter_2",
    ]
    assert re.search("warning: .*train_iter_1000.caffemodel: .*diverged", said.err)
    assert "#2 train_iter_2000" in said.out and "train_iter_1000" not in said.out


def test_every_snapshots_predictions_have_a_folder(work, snapshots):
    far = work.root / "far" / snapshots[0].name
    far.parent.mkdir()
    far.write_bytes(snapshots[1].read_bytes())
    masks = work.root / "masks"
    assert run(work, "--save-dir", masks, weights=[snapshots[0], far]) == 0
    found = sorted(str(p.relative_to(masks)) for p in masks.rglob("*.png"))
    here = work.root.name
    assert found == sorted(
        f"{folder}/train_iter_0000/{name}.png" for folder in (here, "far") for name in IDS
    )


def test_labels_and_scores_must_have_as_many_classes(work, capsys):
    work.write(classes=CLASSES + 1)
    assert run(work) == 2
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(
        r"error: \S+val.prototxt: VOCSegDataLayer's labels have 5 classes but blob 'score' has 4 "
        r"channels; .*\n",
        err,
    )


def test_check_classes_leaves_alone_what_it_does_not_know(work, monkeypatch):
    net, proto = caffe.Net(work.net, caffe.TEST), read_net(work.net)
    score.check_classes(proto, work.net, net, "score")
    score.check_classes(proto, work.net, net, "no_such_blob")
    fed = caffe.proto.caffe_pb2.NetParameter()
    fed.layer.add(name="data", type="Input", top=["data"])
    score.check_classes(fed, "input.prototxt", net, "score")
    work.write(classes=CLASSES + 1)
    proto = read_net(work.net)
    with pytest.raises(cli.UserError, match="5 classes but blob 'data' has 3"):
        score.check_classes(proto, work.net, net, "data")
    made, _ = score.data_layer(proto, work.net)
    monkeypatch.setattr(made, "class_count", classmethod(lambda cls, params: None))
    score.check_classes(proto, work.net, net, "score")


def test_predictions_replace_no_truth_and_scores_no_other_json(work, capsys):
    labels = work.root / "voc/SegmentationClass"
    before = {path.name: path.read_bytes() for path in labels.iterdir()}
    assert run(work, "--save-dir", labels) == 2
    assert "a_1.png: the file that is there is not a mask" in capsys.readouterr().err
    assert before == {path.name: path.read_bytes() for path in labels.iterdir()}
    (work.root / "mine.json").write_text('{"mine": 1}')
    assert run(work, "--json", work.root / "mine.json") == 2
    assert "mine.json: the file that is there is not scores" in capsys.readouterr().err
    more = ["--json", work.root / "scores.json", "--save-dir", work.root / "masks"]
    assert run(work, *more) == run(work, *more) == 0
    noted = {**json.loads((work.root / "scores.json").read_text()), "note": "the best so far"}
    (work.root / "scores.json").write_text(json.dumps(noted))
    assert run(work, *more) == 2
