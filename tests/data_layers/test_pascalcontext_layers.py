from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pascalcontext_layers import CLASS_COUNT, PASCALContextSegDataLayer, class_table, read_names
from scipy.io import savemat
from segmentation.params import DataError

import caffe
from tests.helpers.layouts import refused, write_list, write_mat73

CONTEXT = "PASCALContextSegDataLayer"
SPELT_OTHERWISE = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}


def class_of(data, value):
    """The class of a fine label, worked out anew, by names."""
    if value == 0:
        return 0
    fine = data.fine[int(value) - 1].replace(" ", "")
    for number, name in enumerate(data.classes, 1):
        if SPELT_OTHERWISE.get(name, name).replace(" ", "") == fine:
            return number
    return 0


def expected(data, name, mean=(104.007, 116.669, 122.679)):
    image = (data.images[name][..., ::-1].astype(np.float64) - mean).astype(np.float32)
    rows = [[class_of(data, value) for value in row] for row in data.labels[name]]
    return image.transpose(2, 0, 1)[None], np.array(rows, np.float32)[None, None]


def assert_items(data, items, names, **kwargs):
    assert len(items) == len(names)
    for (image, label), name in zip(items, names):
        want_image, want_label = expected(data, name, **kwargs)
        np.testing.assert_array_equal(image, want_image)
        np.testing.assert_array_equal(label, want_label)


def drawn(seed, ids, count):
    rng = random.Random(seed)
    return [ids[rng.randint(0, len(ids) - 1)] for _ in range(count)]


@pytest.fixture
def net(build, context):
    """net(**params) -> a net with that one data layer."""

    def net(**params):
        return build(CONTEXT, {**context.params, **params}, module="pascalcontext_layers")

    return net


@pytest.mark.parametrize("prefetch", [0, 2])
def test_val_split_comes_in_file_order_and_wraps_around(context, net, take, prefetch):
    assert_items(context, take(net(prefetch=prefetch), 7), context.ids + context.ids[:2])


@pytest.mark.parametrize("prefetch", [0, 2])
def test_train_split_is_drawn_as_python_random_draws_it(context, net, take, prefetch):
    items = take(net(split="train", seed=1337, prefetch=prefetch), 20)
    assert_items(context, items, drawn(1337, context.ids, 20))


def test_the_fcn_references_own_layer_runs(context, take, tmp_path, monkeypatch):
    folder = tmp_path / "nets/pascalcontext-fcn32s"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    (folder / "val.prototxt").write_text(
        'layer {\n  name: "data"\n  type: "Python"\n  top: "data"\n  top: "label"\n'
        '  python_param {\n    module: "pascalcontext_layers"\n'
        '    layer: "PASCALContextSegDataLayer"\n'
        r'    param_str: "{\'context_dir\': \'../../data/pascal-context\', \'seed\': 1337, '
        r"\'split\': \'val\', \'voc_dir\': \'../../data/pascal\'}"
        '"\n  }\n}\n'
    )
    made = caffe.Net(str(folder / "val.prototxt"), caffe.TEST)
    assert_items(context, take(made, 5), context.ids)


def test_voc_dir_may_be_voc2010_itself(context, net, take):
    assert_items(context, take(net(voc_dir=str(context.voc)), 5), context.ids)


def test_another_mean_takes_the_place_of_the_references(context, net, take):
    items = take(net(mean=(1, 2, 3)), 5)
    assert_items(context, items, context.ids, mean=(1, 2, 3))


def test_the_three_names_that_differ_are_found(context, net, take):
    ((_, label),) = take(net(), 1)
    assert label[0, 0, 0, :4].tolist() == [1, 2, 3, 0]  # as the fixture has laid them


def test_names_that_agree_are_preferred_to_the_other_spelling(context):
    context.fine[context.fine.index("thing 7")] = "clothes"
    write_list(context.root / "labels.txt", context.fine)
    table = class_table(str(context.root))
    number = context.classes.index("clothes") + 1
    assert table[context.fine.index("clothes") + 1] == number
    assert table[context.fine.index("cloth") + 1] == 0


def test_the_tasks_names_are_classes_in_their_order(context):
    from prototxt.tasks import TASKS

    background, *names = TASKS["pascal-context"].classes
    assert (background, len(names)) == ("background", CLASS_COUNT - 1)
    fine = [SPELT_OTHERWISE.get(name, name) for name in names] + ["unknown"]
    assert set(SPELT_OTHERWISE) < set(names)
    fine.sort()
    write_list(context.root / "labels.txt", fine)
    write_list(context.root / "59_labels.txt", names)
    table = class_table(str(context.root))
    assert table[fine.index("unknown") + 1] == 0
    for number, name in enumerate(names, 1):
        assert table[fine.index(SPELT_OTHERWISE.get(name, name)) + 1] == number


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.randoms(use_true_random=False),
    st.integers(0, 40),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
    st.sampled_from([": ", ":", " : ", ":\t"]),
    st.booleans(),
)
def test_classes_follow_the_ids_whatever_the_order_of_the_lines(
    context, rng, first, end, colon, background
):
    want = class_table(str(context.root))
    lines = [f"{first + k}{colon}{name}" for k, name in enumerate(context.classes, 1)]
    lines += [f"0{colon}background"] * background
    rng.shuffle(lines)
    path = context.root / "59_labels.txt"
    before = path.read_bytes()
    path.write_bytes((end.join(lines) + end).encode("utf-8-sig"))
    np.testing.assert_array_equal(class_table(str(context.root)), want)
    path.write_bytes(before)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("version", ["5", "7.3"])
def test_label_maps_of_every_number_type_and_version_are_read(context, net, take, kind, version):
    label = {"LabelMap": context.labels[context.ids[0]].astype(kind)}
    path = context.root / "trainval" / f"{context.ids[0]}.mat"
    write_mat73(path, label) if version == "7.3" else savemat(path, label)
    assert_items(context, take(net(), 1), context.ids[:1])


def test_shrink_and_mirror_keep_image_and_label_together(context, net, take):
    plain = take(net(split="train", seed=7, shrink=2), 12)
    mirrored = take(net(split="train", seed=7, shrink=2, mirror=True), 12)
    turned = set()
    for (image, label), (image2, label2), name in zip(plain, mirrored, drawn(7, context.ids, 12)):
        assert image.shape[2:] == label.shape[2:]
        assert label[0, 0, 0, 0] == class_of(context, context.labels[name][1, 1])
        flip = not np.array_equal(image, image2)
        turned.add(flip)
        np.testing.assert_array_equal(label[..., ::-1] if flip else label, label2)
    assert turned == {False, True}


def test_restored_state_yields_what_an_uninterrupted_run_yields(net, take):
    first = net(split="train")
    take(first, 3)
    state = json.loads(json.dumps(first.layers[0].state()))
    want = take(first, 6)
    second = net(split="train")
    second.layers[0].restore_state(state)
    for a, b in zip(want, take(second, 6)):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


def test_class_count_is_the_classes(context):
    assert PASCALContextSegDataLayer.class_count(context.params) == 60
    assert PASCALContextSegDataLayer.class_count(dict(context.params, classes=34)) == 34


def test_a_shorter_class_list_runs_with_its_own_number_of_classes(context, net, take):
    context.classes = context.classes[:33]
    write_list(context.root / "59_labels.txt", context.classes)
    assert_items(context, take(net(classes=34), 5), context.ids)


# what is wrong


@pytest.mark.parametrize(
    "file",
    [
        "pascal-context/trainval/2008_000000.mat",
        "pascal-context/labels.txt",
        "pascal-context/59_labels.txt",
        "pascal/VOC2010/JPEGImages/2008_000000.jpg",
        "pascal/VOC2010/ImageSets/Main/val.txt",
    ],
)
def test_missing_files_are_named(context, net, file):
    path = context.root.parent / file
    path.unlink()
    refused(net, str(path), "no such")


def test_check_names_the_first_missing_label_and_counts_the_rest(context):
    PASCALContextSegDataLayer.check(context.params)
    for name in context.ids[1:4]:
        (context.root / f"trainval/{name}.mat").unlink()
    told = context.ids[1] + ".mat", "and 2 more"
    refused(lambda: PASCALContextSegDataLayer.check(context.params), *told)


def test_missing_voc2010_is_named(net, tmp_path):
    refused(lambda: net(voc_dir=str(tmp_path)), str(tmp_path / "VOC2010"), "voc_dir must hold")


@pytest.mark.parametrize("kind", ["empty", "html", "cut"])
def test_damaged_files_are_named(context, net, kind):
    name = context.ids[0]
    for path in (context.root / f"trainval/{name}.mat", context.voc / f"JPEGImages/{name}.jpg"):
        data = path.read_bytes()
        html = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>\n" * 9
        path.write_bytes({"empty": b"", "html": html, "cut": data[: len(data) // 2]}[kind])
        refused(net, str(path))
        path.write_bytes(data)
    net().forward()


@pytest.mark.parametrize(
    "variables, told",
    [
        ({"labelmap": np.ones((9, 12))}, "holds no LabelMap"),
        ({"LabelMap": np.ones((9, 12, 2))}, "no label map"),
        ({"LabelMap": np.full((9, 12), 1.5)}, "fractions"),
        ({"LabelMap": np.ones((5, 4))}, "4x5"),
    ],
)
def test_label_file_with_something_else_is_named(context, net, variables, told):
    path = context.root / "trainval" / f"{context.ids[0]}.mat"
    savemat(path, variables)
    refused(net, str(path), told)


@pytest.mark.parametrize("value, kind", [(460, np.uint16), (-1, np.int16), (65535.0, np.float64)])
def test_fine_label_without_an_id_is_named_with_its_place(context, net, value, kind):
    path = context.root / "trainval" / f"{context.ids[0]}.mat"
    label = context.labels[context.ids[0]].astype(kind)
    label[2, 3] = value
    savemat(path, {"LabelMap": label})
    refused(net, str(path), f"LabelMap holds {int(value)} at row 2, column 3", "labels.txt")


def test_fine_label_in_a_gap_of_the_ids_is_named(context, net):
    lines = (context.root / "labels.txt").read_text().splitlines()
    gone = context.fine.index("thing 90") + 1
    (context.root / "labels.txt").write_text("\n".join(lines[: gone - 1] + lines[gone:]))
    path = context.root / "trainval" / f"{context.ids[0]}.mat"
    savemat(path, {"LabelMap": np.full((9, 12), gone)})
    refused(net, str(path), f"LabelMap holds {gone} at row 0, column 0")


def edit(path, number, line):
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("file", ["labels.txt", "59_labels.txt"])
@pytest.mark.parametrize(
    "line",
    ["9 dog", "nine: dog", "9:", "-9: x", "99999: x", "999999999999: x", "<!DOCTYPE html>", "²: x"],
)
def test_lines_that_are_no_id_and_name_are_named(context, net, file, line):
    path = context.root / file
    edit(path, 9, line)
    refused(net, f"{path}:9: {line!r} is not 'id: name'")


@pytest.mark.parametrize("file", ["labels.txt", "59_labels.txt"])
@pytest.mark.parametrize(
    "line, told",
    [("7: no other has this name", "the id 7 comes"), ("460: do g", "the name dog comes")],
)
def test_ids_and_names_that_come_twice_are_named(context, net, file, line, told):
    path = context.root / file
    with open(path, "a") as lines:
        lines.write(line + "\n")
    refused(net, f"{path}:{len(path.read_text().splitlines())}: {told} twice")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xd8\xff\xe0" * 9])
@pytest.mark.parametrize("file", ["labels.txt", "59_labels.txt"])
def test_lists_that_are_empty_or_no_text_are_named(context, net, file, content):
    (context.root / file).write_bytes(content)
    refused(net, str(context.root / file), "id: name")


def test_class_that_the_fine_list_lacks_is_named_with_its_line(context, net):
    path = context.root / "59_labels.txt"
    edit(path, 4, "4: dodo")
    refused(net, f"{path}:4: 'dodo' is not in", "labels.txt")


def test_two_names_of_one_fine_label_are_named(context, net):
    path = context.root / "59_labels.txt"
    edit(path, 4, "4: table")
    refused(net, f"{path}:4: 'table' is class 1 already")


@pytest.mark.parametrize("count", [1, 58])
def test_class_list_that_is_too_short_is_told(context, net, count):
    write_list(context.root / "59_labels.txt", context.classes[:count])
    told = f"has {count} names, but 59 are expected"
    refused(net, "59_labels.txt: ", told)


def test_class_list_that_is_too_long_is_told(context, net):
    write_list(context.root / "59_labels.txt", [*context.classes, "unknown"])
    refused(net, "59_labels.txt: has 60 names", "59 are expected")
    net(classes=61)


def test_lists_of_one_class_are_refused_with_the_remedy(context, net):
    path = context.voc / "ImageSets/Main/dog_val.txt"
    path.write_text("2008_000000 -1\n2008_000001  1\n")
    refused(lambda: net(split="dog_val"), str(path), "second column", "use train, val or trainval")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_list_or_refused_in_one_line(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        names = read_names(str(path))
    except DataError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return
    assert names and all(name and 0 <= key <= 65535 for key, (name, _) in names.items())


@pytest.mark.parametrize("key", ["voc_dir", "context_dir", "split"])
def test_required_keys_are_named(context, key):
    params = {k: v for k, v in context.params.items() if k != key}
    refused(lambda: PASCALContextSegDataLayer.ids(params), CONTEXT, f"lacks '{key}'")
