"""A user's TOML becomes nets; a mistake in it becomes one line that names file and key."""

import ast
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from voc_layers import VOCSegDataLayer

from caffe.proto import caffe_pb2
from prototxt import balance, generate, own
from prototxt.build import NETS
from prototxt.errors import InputError
from prototxt.tasks import VOC_MEAN

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="needs tomllib")

MINIMAL = """
name = "cells"
classes = ["background", "cell"]
[data]
root = "{root}"
[training]
base_lr = 1e-9
iterations = 500
"""

EXAMPLES = sorted(Path(__file__).parents[2].glob("prototxt/examples/camvid*.toml"))


@pytest.fixture
def data(tmp_path):
    splits = tmp_path / "cells" / "ImageSets" / "Segmentation"
    splits.mkdir(parents=True)
    (splits / "train.txt").write_text("a\nb\nc\n")
    (splits / "val.txt").write_text("d\ne\n\n")
    return tmp_path / "cells"


@pytest.fixture
def toml(tmp_path, data):
    """Writes a TOML file: MINIMAL with `changes` replaced, then `more` lines appended."""

    def write(*more, **changes):
        text = MINIMAL.format(root=data)
        for old, new in changes.items():
            line = next(line for line in text.splitlines() if line.startswith(f"{old} "))
            text = text.replace(line, new)
        path = tmp_path / "cells.toml"
        path.write_text(text + "\n".join(more))
        return str(path)

    return write


def nets(path, out="out", net="dilated-fcn2s-vgg16", **keywords):
    """{phase: NetParameter} and the SolverParameter of the files made from a TOML."""
    made = generate.own_files(path, out=out, **keywords)
    protos = {
        phase: text_format.Parse(made[f"{out}/{net}/{phase}.prototxt"], caffe_pb2.NetParameter())
        for phase in ("train", "val", "deploy")
    }
    solver = made[f"{out}/{net}/solver.prototxt"]
    return protos, text_format.Parse(solver, caffe_pb2.SolverParameter())


def parameters(net):
    return ast.literal_eval(net.layer[0].python_param.param_str)


def layer(net, name):
    return next(layer for layer in net.layer if layer.name == name)


def test_a_minimal_toml_makes_every_net_with_its_classes_and_its_folder(toml, data):
    made = generate.own_files(toml(), out="out")
    assert {path.split("/")[1] for path in made} == set(NETS)
    protos, _ = nets(toml())
    for net in protos.values():
        assert layer(net, "score_fr").convolution_param.num_output == 2
        assert layer(net, "upscore_2").convolution_param.num_output == 2
    expected = {"voc_dir": str(data), "split": "train", "mean": VOC_MEAN, "seed": 1337}
    expected["classes"] = 2
    assert parameters(protos["train"]) == expected
    assert parameters(protos["val"]) == {**expected, "split": "val"}


def test_the_solver_has_the_toml_schedule_and_counts_the_val_images(toml):
    _, solver = nets(toml())
    assert (solver.max_iter, list(solver.test_iter)) == (500, [2])
    assert np.float32(solver.base_lr) == np.float32(1e-9)
    assert np.float32(solver.momentum) == np.float32(0.99)
    assert solver.snapshot_prefix == "out/dilated-fcn2s-vgg16/train"
    assert solver.train_net == "out/dilated-fcn2s-vgg16/train.prototxt"


def test_every_training_key_reaches_the_solver(toml):
    _, solver = nets(
        toml(
            "momentum = 0.9", "weight_decay = 0", "iter_size = 2", "display = 1",
            "average_loss = 5", "snapshot = 50", "clip_gradients = 10.0", "random_seed = 7",
            'lr_policy = "multistep"', "gamma = 0.1", "stepvalue = [100, 200]",
        )
    )  # fmt: skip
    given = [solver.iter_size, solver.display, solver.average_loss, solver.snapshot]
    assert given == [2, 1, 5, 50]
    assert (solver.clip_gradients, solver.random_seed, solver.weight_decay) == (10, 7, 0)
    assert solver.HasField("weight_decay")
    assert (solver.lr_policy, list(solver.stepvalue)) == ("multistep", [100, 200])
    assert np.float32(solver.gamma) == np.float32(0.1)
    assert np.float32(solver.momentum) == np.float32(0.9)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('type = "SGD"', {"momentum": 0.99}),
        ('type = "Nesterov"\nmomentum = 0.9', {"type": "Nesterov", "momentum": 0.9}),
        ('type = "AdaGrad"', {"type": "AdaGrad", "delta": 1e-8}),
        ('type = "RMSProp"', {"type": "RMSProp", "delta": 1e-8, "rms_decay": 0.99}),
        ('type = "AdaDelta"', {"type": "AdaDelta", "momentum": 0.95, "delta": 1e-6}),
        (
            'type = "Adam"\nmomentum2 = 0.99',
            {"type": "Adam", "momentum": 0.9, "momentum2": 0.99, "delta": 1e-8},
        ),
    ],
)
def test_a_type_of_solver_comes_with_its_own_parameters_alone(toml, line, expected):
    _, solver = nets(toml(line))
    fields = ("type", "momentum", "momentum2", "delta", "rms_decay")
    found = {name: getattr(solver, name) for name in fields if solver.HasField(name)}
    assert found == {k: v if k == "type" else np.float32(v) for k, v in expected.items()}


def test_fc_outputs_and_their_filler_are_of_fc6_and_fc7_alone(toml):
    filler = 'fc_filler = { type = "gaussian", std = 0.01 }'
    for net in ("dilated-fcn2s-vgg16", "fcn8s-atonce-vgg16"):
        made = nets(toml("fc_outputs = 64", filler), net=net)[0]["train"]
        plain = nets(toml(), net=net)[0]["train"]
        changed = [a.name for a, b in zip(made.layer, plain.layer) if a != b]
        assert changed == ["fc6", "fc7"]
        for name in changed:
            convolution = layer(made, name).convolution_param
            assert convolution.num_output == 64
            assert convolution.weight_filler.type == "gaussian"


def test_frozen_stages_get_multipliers_of_0_and_the_others_keep_theirs(toml):
    protos, _ = nets(toml('freeze = ["conv1", "fc7"]'))
    for made in protos["train"].layer:
        if made.type == "Convolution":
            frozen = made.name.startswith("conv1_") or made.name == "fc7"
            expected = [(0, 0), (0, 0)] if frozen else [(1, 1), (2, 0)]
            assert [(p.lr_mult, p.decay_mult) for p in made.param] == expected, made.name


def test_loss_normalize_averages_over_pixels(toml):
    protos, _ = nets(toml("loss_normalize = true"))
    assert protos["train"].layer[-1].loss_param.normalize
    assert not nets(toml())[0]["train"].layer[-1].loss_param.normalize


def test_a_score_filler_is_given_to_the_score_layers_only(toml):
    protos, _ = nets(toml('score_filler = { type = "gaussian", std = 0.01 }'))
    filled = [m for m in protos["train"].layer if m.convolution_param.HasField("weight_filler")]
    names = ["score_fr", "score_pool4", "score_pool3", "score_pool2", "score_pool1"]
    assert [made.name for made in filled] == names
    for made in filled:
        filler = made.convolution_param.weight_filler
        assert (filler.type, np.float32(filler.std)) == ("gaussian", np.float32(0.01))


def test_skip_scales_are_the_fillers_of_the_scale_layers(toml):
    protos, _ = nets(toml("skip_scales = [4, 1.5, 0.6, 0.3]"))
    found = [layer(protos["train"], f"scale_pool{s}") for s in (4, 3, 2, 1)]
    values = [made.scale_param.filler.value for made in found]
    np.testing.assert_allclose(values, [4, 1.5, 0.6, 0.3], rtol=1e-6)


def test_score_lr_mult_is_given_to_the_score_layers_only(toml):
    protos, _ = nets(toml("score_lr_mult = 0.01"))
    mults = {made.name: [p.lr_mult for p in made.param] for made in protos["train"].layer}
    for name in ("score_fr", "score_pool4", "score_pool1"):
        np.testing.assert_allclose(mults[name], [0.01, 0.02], rtol=1e-6)
    assert mults["fc7"] == mults["conv1_1"] == [1, 2]


def test_fc_lr_mult_is_given_to_fc6_and_fc7_only_unless_they_are_frozen(toml):
    protos, _ = nets(toml("fc_lr_mult = 5", 'freeze = ["fc7"]'))
    mults = {made.name: [p.lr_mult for p in made.param] for made in protos["train"].layer}
    assert (mults["fc6"], mults["fc7"]) == ([5, 10], [0, 0])
    assert mults["score_fr"] == mults["conv5_3"] == [1, 2]


def test_dropout_is_the_ratio_behind_fc6_and_fc7(toml):
    protos, _ = nets(toml("dropout = 0.25"))
    ratios = [layer(protos["train"], f"drop{i}").dropout_param.dropout_ratio for i in (6, 7)]
    assert ratios == [0.25, 0.25]
    with pytest.raises(InputError, match="dropout: must be at least 0 and below 1"):
        own.load(toml("dropout = 1"))


def test_too_few_skip_scales_are_refused(toml):
    with pytest.raises(InputError, match="skip_scales: must be one number for each of pool4"):
        own.load(toml("skip_scales = [1, 2]"))


def test_other_folders_are_passed_to_the_data_layer(toml, data):
    (data / "lists").mkdir()
    (data / "lists" / "test.txt").write_text("x\n")
    (data / "lists" / "train.txt").write_text("y\n")
    folders = ['images = "frames"', 'labels = "/masks"', 'splits = "lists"', 'val = "test"']
    protos, solver = nets(toml(root="\n".join([f'root = "{data}"', *folders])))
    given = parameters(protos["val"])
    assert (given["image_dir"], given["label_dir"]) == ("frames", "/masks")
    assert (given["split_dir"], given["split"]) == ("lists", "test")
    assert list(solver.test_iter) == [1]


def test_scoring_on_the_train_split_keeps_its_order(toml, data):
    protos, _ = nets(toml(root=f'root = "{data}"\nval = "train"'))
    assert parameters(protos["val"])["randomize"] is False
    assert "randomize" not in parameters(protos["train"])


def test_images_are_shrunk_for_both_nets_and_mirrored_for_training_only(toml, data):
    protos, _ = nets(toml(root=f'root = "{data}"\nshrink = 2\nmirror = true'))
    train, val = parameters(protos["train"]), parameters(protos["val"])
    assert (train["shrink"], train["mirror"]) == (2, True)
    assert val["shrink"] == 2 and "mirror" not in val


def test_training_images_alone_are_scaled_cut_and_coloured_in_batches(toml, data):
    keys = "scale = [0.5, 2]\ncrop = [64, 96]\njitter = 0.3\nbatch = 4"
    protos, _ = nets(toml(root=f'root = "{data}"\n{keys}'))
    train, val = parameters(protos["train"]), parameters(protos["val"])
    drawn = {key: train[key] for key in ("scale", "crop", "jitter", "batch")}
    assert drawn == {"scale": (0.5, 2), "crop": (64, 96), "jitter": 0.3, "batch": 4}
    assert not drawn.keys() & val.keys()
    VOCSegDataLayer.parse(train)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("scale = [2, 1]", "data.scale: must be two factors"),
        ("scale = [1]", "data.scale: must be two factors"),
        ("scale = 2", "data.scale: must be a list"),
        ("crop = [1, 2, 3]", "data.crop: must be a side, or"),
        ("crop = 0", "data.crop: must be a side, or"),
        ("crop = 1.5", "data.crop: must be a side, or a list of height and width"),
        ("jitter = 1", "data.jitter: must be at least 0 and below 1"),
        ("batch = 0\ncrop = 9", "data.batch: must be 1 to 1024"),
        ("batch = 4", "data.crop: is missing: a batch needs images of one size"),
    ],
)
def test_a_wrong_way_to_draw_is_refused_by_its_key(toml, data, keys, told):
    with pytest.raises(InputError, match=re.escape(told)):
        own.load(toml(root=f'root = "{data}"\n{keys}'))


@pytest.fixture
def labelled(data):
    """The data set with labels: three for training, of 60 %, 40 % and, in one of them, void."""
    folder, images = data / "SegmentationClass", data / "JPEGImages"
    folder.mkdir(exist_ok=True)
    images.mkdir(exist_ok=True)
    for name, values in {
        "a": [0, 0, 1, 1, 255],
        "b": [0, 0, 0, 0, 0],
        "c": [0, 0, 1, 1, 1],
    }.items():
        Image.fromarray(np.uint8([values])).save(folder / f"{name}.png")
        Image.new("RGB", (5, 1)).save(images / f"{name}.jpg")
    return data


def balanced(toml, root, tmp_path, how):
    out = tmp_path / "out"
    path = toml(f"balance = {how}\nloss_normalize = true", root=f'root = "{root}"')
    assert generate.main(["--own", path, "--out", str(out)]) == 0
    net = out / "dilated-fcn2s-vgg16"
    losses = [
        layer(text_format.Parse((net / name).read_text(), caffe_pb2.NetParameter()), "loss")
        for name in ("train.prototxt", "val.prototxt")
    ]
    blob = caffe_pb2.BlobProto.FromString((out / "balance.binaryproto").read_bytes())
    assert losses[0].infogain_loss_param.source == str(out / "balance.binaryproto")
    assert [loss.type for loss in losses] == ["InfogainLoss", "SoftmaxWithLoss"]
    return out, np.reshape(blob.data, (blob.height, blob.width))


def test_weights_of_the_classes_go_into_the_training_loss(toml, labelled, tmp_path):
    _, matrix = balanced(toml, labelled, tmp_path, "[0.5, 3]")
    assert matrix.tolist() == [[0.5, 0], [0, 3]]


def test_median_frequencies_are_counted_once(toml, labelled, tmp_path, monkeypatch):
    out, matrix = balanced(toml, labelled, tmp_path, '"median"')
    shares = [9 / 14, 5 / 9]
    middle = sum(shares) / 2
    np.testing.assert_allclose(np.diag(matrix), [middle / share for share in shares], rtol=1e-6)
    monkeypatch.setattr(balance, "count", None)
    assert np.array_equal(balanced(toml, labelled, tmp_path, '"median"')[1], matrix)


def test_labels_that_changed_are_counted_again(toml, labelled, tmp_path):
    _, matrix = balanced(toml, labelled, tmp_path, '"median"')
    Image.fromarray(np.uint8([[1] * 50])).save(labelled / "SegmentationClass/b.png")
    assert not np.array_equal(balanced(toml, labelled, tmp_path, '"median"')[1], matrix)


def test_a_label_that_cannot_be_read_is_named(toml, labelled, tmp_path, capsys):
    (labelled / "SegmentationClass/b.png").write_text("notes")
    path = toml('balance = "median"', root=f'root = "{labelled}"')
    assert generate.main(["--own", path, "--out", str(tmp_path / "out")]) == 2
    assert "b.png" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_matrix_of_somebody_elses_is_kept(toml, labelled, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/balance.binaryproto").write_text("notes")
    path = toml("balance = [1, 2]", root=f'root = "{labelled}"')
    assert generate.main(["--own", path, "--out", str(tmp_path / "out")]) == 2
    assert "balance.binaryproto: the file that is there is not" in capsys.readouterr().err


@pytest.mark.parametrize("how", ['"mean"', "[1]", "[1, -1]", "[0, 0]", '[1, "2"]', "2"])
def test_a_wrong_balance_is_refused(toml, data, how):
    with pytest.raises(InputError, match="training.balance: must be"):
        own.load(toml(f"balance = {how}", root=f'root = "{data}"'))


def test_data_on_the_command_line_replaces_the_root(toml, data, tmp_path):
    moved = data.rename(tmp_path / "moved")
    protos, _ = nets(toml(), root=str(moved))
    assert parameters(protos["train"])["voc_dir"] == str(moved)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_camvid_examples_have_the_data_sets_own_classes(shared, example):
    task = own.load(example, root=str(shared / "data" / "camvid"))
    listed = (shared / "data" / "camvid" / "classes.txt").read_text().split()
    assert list(task.classes) == listed
    assert task.val.images == 101


@pytest.mark.slow
@pytest.mark.parametrize("example", ["camvid-cpu", "camvid-gpu"])
def test_the_weights_in_an_example_are_square_roots_of_the_median_frequencies(shared, example):
    path = Path(__file__).parents[2] / "prototxt" / "examples" / f"{example}.toml"
    task = own.load(path, root=str(shared / "data" / "camvid"))
    found = balance.counts(task, kept="")
    weights = balance.median_frequency(found["pixels"], found["around"])
    np.testing.assert_allclose(task.balance, np.sqrt(weights), atol=6e-4)


def test_the_command_writes_the_files_beside_the_snapshots(toml, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert generate.main(["--own", toml()]) == 0
    folder = tmp_path / "runs" / "cells" / "dilated-fcn2s-vgg19"
    names = ["deploy.prototxt", "solver.prototxt", "task.toml", "train.prototxt", "val.prototxt"]
    assert sorted(p.name for p in folder.iterdir()) == names


def test_a_root_may_begin_with_the_home_folder(toml, data, monkeypatch):
    monkeypatch.setenv("HOME", str(data.parent))
    protos, _ = nets(toml(root='root = "~/cells"'))
    assert parameters(protos["val"])["voc_dir"] == str(data)


def test_nets_are_named_by_task_and_net(toml):
    protos, _ = nets(toml())
    assert {net.name for net in protos.values()} == {"cells-dilated-fcn2s-vgg16"}


def test_a_copy_of_the_toml_beside_the_nets_makes_the_same_task_and_the_same_copy(toml, tmp_path):
    path = toml(classes='classes = ["hintergrund", "Zelle µ"]')
    made = generate.own_files(path, out=str(tmp_path / "out"))
    copies = {text for name, text in made.items() if name.endswith("/task.toml")}
    assert len(copies) == 1 and len(made) == 5 * len(NETS)
    (tmp_path / "task.toml").write_text(copies.pop(), encoding="utf-8")
    assert own.load(tmp_path / "task.toml") == own.load(path)
    again = generate.own_files(tmp_path / "task.toml", out=str(tmp_path / "out"))
    text = made[f"{tmp_path}/out/fcn8s-vgg16/task.toml"]
    assert again[f"{tmp_path}/out/fcn8s-vgg16/task.toml"] == text
    assert text.startswith("# Copied from cells.toml by ")


def test_a_palette_gives_the_classes_their_colours(toml):
    assert own.load(toml()).palette == ()
    classes = 'classes = ["a", "b"]\npalette = [[0, 0, 0], [255, 128, 0]]'
    assert own.load(toml(classes=classes)).palette == ((0, 0, 0), (255, 128, 0))


LAST = "iterations"
WRONG = [
    # (line to replace, its replacement, the key that is named, a word of the remedy)
    ("classes", 'clases = ["a"]', "clases", "did you mean classes?"),
    ("classes", "classes = []", "classes", "empty"),
    ("classes", "", "classes", "missing"),
    ("classes", "classes = 3", "classes", "must be a list"),
    ("classes", 'classes = ["a", 3]', "classes", "strings"),
    ("classes", 'classes = ["a", "a"]', "classes", "twice"),
    ("classes", f"classes = {[f'c{i}' for i in range(256)]}", "classes", "at most 255"),
    ("classes", 'classes = ["a"]\npalette = [[1, 2]]', "palette", "[red, green, blue]"),
    ("classes", 'classes = ["a"]\npalette = [[1, 2, 256]]', "palette", "each 0 to 255"),
    ("classes", 'classes = ["a"]\npalette = [[1, 2, true]]', "palette", "each 0 to 255"),
    ("classes", 'classes = ["a"]\npalette = ["red"]', "palette", "[red, green, blue]"),
    ("classes", 'classes = ["a", "b"]\npalette = [[1, 2, 3]]', "palette", "2 classes, has 1"),
    ("classes", 'classes = ["a"]\nmean = [1, 2]', "mean", "3 numbers"),
    ("classes", 'classes = ["a"]\nmean = [1, 2, "3"]', "mean", "list of numbers"),
    ("classes", 'classes = ["a"]\nmean = [1, 2, nan]', "mean", "list of numbers"),
    ("classes", 'classes = ["a"]\nnets = ["dilated-fcn2s-vgg61"]', "nets", "did you mean"),
    ("classes", 'classes = ["a"]\nnets = []', "nets", "empty"),
    ("name", 'name = "../up"', "name", "letters"),
    ("name", 'name = "voc"', "name", "built-in"),
    ("name", 'name = ""', "name", "empty"),
    ("name", 'name = "a"\n"two\\nlines" = 1', "two lines", "unknown key"),
    ("root", "", "data.root", "missing"),
    ("root", 'root = "/no/such/folder"', "data.root", "no such folder"),
    ("root", 'root = "x"\nval_images = 0', "data.val_images", "at least 1"),
    ("root", 'root = "x"\nval_images = 9\ntrain = "fit"', "data.train", "contain 'train'"),
    ("root", 'root = "x"\nval_images = 9\nshrink = 0', "data.shrink", "at least 1"),
    ("base_lr", 'base_lr = "1e-9"', "training.base_lr", "must be a number"),
    ("base_lr", "base_lr = true", "training.base_lr", "must be a number"),
    ("base_lr", "base_lr = inf", "training.base_lr", "out of range"),
    ("base_lr", "base_lr = -1", "training.base_lr", "at least 0"),
    ("base_lr", "", "training.base_lr", "missing"),
    (LAST, "iterations = 1e5", "training.iterations", "whole number"),
    (LAST, "iterations = 3000000000", "training.iterations", "out of range"),
    (LAST, "", "training.iterations", "missing"),
    (LAST, 'iterations = 9\nfreeze = ["conv9"]', "training.freeze", "did you mean conv"),
    (LAST, 'iterations = 9\nlr_policy = "steps"', "training.lr_policy", "known"),
    (LAST, 'iterations = 9\nlr_policy = "step"', "training.gamma", "needs it"),
    (LAST, 'iterations = 9\ntype = "adam"', "training.type", "known: SGD"),
    (LAST, "iterations = 9\nmomentum2 = 0.9", "training.momentum2", "'SGD' does not use it"),
    (LAST, 'iterations = 9\ntype = "Adam"\nmomentum2 = 1', "training.momentum2", "below 1"),
    (LAST, 'iterations = 9\ntype = "RMSProp"\nmomentum = 0.9', "training.momentum", "not use"),
    (LAST, 'iterations = 9\ntype = "Adam"\ndelta = -1', "training.delta", "at least 0"),
    (LAST, "iterations = 9\nfc_outputs = 0", "training.fc_outputs", "at least 1"),
    (LAST, 'iterations = 9\nfc_filler = {type = "gaussian"}', "fc_filler.std", "needs it"),
    (LAST, "iterations = 9\npower = 2", "training.power", "does not use it"),
    (LAST, "iterations = 9\nloss_normalize = 1", "training.loss_normalize", "true or false"),
    (LAST, 'iterations = 9\nscore_filler = {type = "gauss"}', "score_filler.type", "known"),
    (LAST, 'iterations = 9\nscore_filler = {type = "gaussian"}', "score_filler.std", "needs"),
    (LAST, 'iterations = 9\nscore_filler = {typ = "msra"}', "score_filler.typ", "mean type"),
]


@pytest.mark.parametrize(("line", "new", "key", "remedy"), WRONG)
def test_a_mistake_is_one_line_naming_file_and_key_and_exit_2(
    toml, capsys, tmp_path, monkeypatch, line, new, key, remedy
):
    monkeypatch.chdir(tmp_path)
    path = toml(**{line: new})
    assert generate.main(["--own", path]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {path}: ") and err.count("\n") == 1
    assert f"{key}: " in err and remedy in err
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_missing_or_is_not_toml_is_one_line(tmp_path, capsys):
    assert generate.main(["--own", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: no such file" in capsys.readouterr().err
    broken = tmp_path / "broken.toml"
    broken.write_text("name = \n")
    assert generate.main(["--own", str(broken)]) == 2
    err = capsys.readouterr().err
    assert "broken.toml: not TOML: " in err and err.count("\n") == 1


def test_an_empty_val_split_is_refused(toml, data, capsys):
    (data / "ImageSets/Segmentation/val.txt").write_text("\n")
    assert generate.main(["--own", toml()]) == 2
    assert "names no image" in capsys.readouterr().err


def test_names_and_mean_can_be_read_where_the_data_is_not(toml):
    path = toml(root='root = "/no/such/folder"')
    assert own.load(path, counted=False).classes == ("background", "cell")
    with pytest.raises(InputError, match="data.root: /no/such/folder: no such folder"):
        own.load(path)


def test_a_class_more_is_counted_anew(toml, labelled, tmp_path):
    assert balanced(toml, labelled, tmp_path, '"median"')[1].shape == (2, 2)
    path = tmp_path / "cells.toml"
    more = path.read_text().replace('["background", "cell"]', '["background", "cell", "wall"]')
    path.write_text(more)
    assert generate.main(["--own", str(path), "--out", str(tmp_path / "out")]) == 0
    blob = caffe_pb2.BlobProto.FromString((tmp_path / "out/balance.binaryproto").read_bytes())
    assert (blob.height, blob.width) == (3, 3)


def test_a_label_of_no_class_is_not_counted_but_named(toml, labelled, tmp_path, capsys):
    Image.fromarray(np.uint8([[0, 77]])).save(labelled / "SegmentationClass/b.png")
    path = toml('balance = "median"', root=f'root = "{labelled}"')
    assert generate.main(["--own", path, "--out", str(tmp_path / "out")]) == 2
    assert "b.png: label 77" in capsys.readouterr().err
