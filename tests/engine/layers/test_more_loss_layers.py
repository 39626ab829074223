"""ContrastiveLoss, HingeLoss, InfogainLoss, MultinomialLogisticLoss, SigmoidCrossEntropyLoss.

Losses and gradients written out as numbers are BVLC Caffe 1.0's."""

import numpy as np
import pytest

from caffe.errors import InputError
from caffe.proto import caffe_pb2
from tests.helpers.layer_runs import Run, check_gradients, distinct

A = ((np.arange(12).reshape(3, 4) * 7 % 11 - 4) / 4).astype(np.float32)
B = ((np.arange(12).reshape(3, 4) * 5 % 11 - 4) / 4).astype(np.float32)
ALIKE = np.array([1, 0, 0.5])  # what counts is the whole part
LABELS = np.array([1, 0, 3])
TARGETS = np.array([[1, 0, 0.5, 1], [0, 0, 1, -1], [2, 1, 0.5, -1]])
MATRIX = np.arange(16).reshape(4, 4) / 8 - 0.5


def loss_and_gradient(kind, body, *arrays, weight=1):
    """The loss, and the first bottom's gradient for this loss weight, as one row."""
    run = Run(kind, body, *arrays)
    loss = run.forward()
    assert loss.shape == ()
    down = [True] + [False] * (len(arrays) - 1)
    return loss, run.backward(weight, down=down)[0].ravel()


def check(found, loss, gradient):
    np.testing.assert_allclose(found[0], loss, rtol=2e-6)
    np.testing.assert_allclose(found[1], gradient, rtol=3e-6, atol=1e-7)


CONTRASTIVE = {
    "": (0.9270833, [0, 0.16666667, -0.5833334, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]),
    "margin: 4": (
        2.760461,
        [0, 0.16666667, -0.5833334, 0.5, 0.64436954, 0.21478985, -0.21478985, -0.64436954,
         0.3479836, -0.40598086, 0.11599453, 0],
    ),
    "margin: 6 legacy_version: true": (
        1.7916666,
        [0, 0.16666667, -0.5833334, 0.5, 0.25, 0.08333334, -0.08333334, -0.25,
         0.5, -0.5833334, 0.16666667, 0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("body", CONTRASTIVE)
def test_contrastive_loss_is_caffes(body):
    loss, gradient = CONTRASTIVE[body]
    run = Run("ContrastiveLoss", f"contrastive_loss_param {{ {body} }}", A, B, ALIKE)
    np.testing.assert_allclose(run.forward(), loss, rtol=1e-6)
    da, db, _ = run.backward(2, down=[True, True, False])
    np.testing.assert_allclose(da.ravel(), 2 * np.array(gradient), rtol=3e-6, atol=1e-6)
    np.testing.assert_array_equal(da, -db)


@pytest.mark.parametrize("legacy", ["true", "false"])
def test_contrastive_gradients_agree_with_differences(legacy):
    # d is 0.2 to 1.1: pairs beyond the margin, and within it
    a, b = distinct(6, 3) / 4, distinct(6, 3, seed=1) / 4
    body = f"contrastive_loss_param {{ margin: 0.6 legacy_version: {legacy} }}"
    run = Run("ContrastiveLoss", body, a, b, np.arange(6) % 3 == 0)
    check_gradients(run, [a, b, np.arange(6) % 3 == 0], wanted=[0, 1])


def test_equal_vectors_that_should_differ_cost_the_margin_and_have_no_gradient():
    loss, gradient = loss_and_gradient("ContrastiveLoss", "", A, A, ALIKE * 0)
    assert loss == 0.5
    assert not gradient.any()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(3, 4), (3, 3), (3,)], r"'b0' and 'b1' must have one shape; \(3, 4\) and \(3, 3\)"),
        ([(3, 2, 2), (3, 2, 2), (3,)], r"'b0' must be N x C .*\(3, 2, 2\)"),
        ([(3, 4), (3, 4), (2,)], r"'b2' must hold one number for each of 3 pairs.*\(2,\)"),
        ([(3, 4), (3, 4), (1, 3)], r"'b2' must hold one number for each of 3 pairs"),
        ([(3, 4), (2, 6), (3,)], "must have the same first axis"),
    ],
)
def test_bottoms_that_are_no_pairs_are_refused(shapes, message):
    with pytest.raises(InputError, match=message):
        Run("ContrastiveLoss", "", *map(np.zeros, shapes))


HINGE_L1 = [0, -1, 1, 1, -1, 1, 1, 1, 1, 1, 1, -1]
HINGE_L2 = [0, -0.5, 1.5, 5, -1, 1, 4.5, 2.5, 0.5, 4, 2, -4]


def test_hinge_loss_is_caffes():
    found = loss_and_gradient("HingeLoss", "", A, LABELS, weight=3)
    check(found, 4.4166665, HINGE_L1)
    body = "hinge_loss_param { norm: L2 }"
    check(loss_and_gradient("HingeLoss", body, A, LABELS, weight=3), 7.6875, HINGE_L2)
    # The classes are all that an item has, whatever its axes.
    found = loss_and_gradient("HingeLoss", "", A.reshape(3, 2, 1, 2), LABELS, weight=3)
    check(found, 4.4166665, HINGE_L1)


@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_hinge_gradients_agree_with_differences(norm):
    x = distinct(4, 5)
    run = Run("HingeLoss", f"hinge_loss_param {{ norm: {norm} }}", x, np.array([4, 0, 2, 2]))
    check_gradients(run, [x, [4, 0, 2, 2]], wanted=[0], step=5e-3)


def test_multinomial_logistic_loss_is_caffes():
    p = np.abs(A) / 6 + 0.01
    p[0, 1] = 0  # costs what 1e-20 does
    gradient = np.zeros((3, 4))
    gradient[[0, 1, 2], LABELS] = -3.3333335e19, -3.5714288, -1.8867925
    check(loss_and_gradient("MultinomialLogisticLoss", "", p, LABELS), 16.718924, gradient.ravel())


@pytest.mark.parametrize("kind", ["HingeLoss", "MultinomialLogisticLoss"])
def test_items_need_one_label_each_and_of_their_classes(kind):
    with pytest.raises(InputError, match=r"'b1' of shape \(3, 2\) holds 6 labels; .* 3 items"):
        Run(kind, "", A, np.zeros((3, 2)))
    with pytest.raises(InputError, match="label -1, 4 in 'b1' is not one of the 4 classes"):
        Run(kind, "", A, np.array([4, 0, -1])).forward()


# loss_param: loss, and the factor on the gradient's sum over the valid targets
CROSS_ENTROPY = {
    "": (2.648616, 1 / 3),
    "normalization: VALID": (0.7945848, 1 / 10),
    "normalization: FULL": (0.662154, 1 / 12),
    "normalization: NONE": (7.945848, 1),
    "normalization: BATCH_SIZE": (2.648616, 1 / 3),
    "normalize: true": (0.7945848, 1 / 10),
    "normalize: false": (2.648616, 1 / 3),
    "normalize: true normalization: NONE": (7.945848, 1),
}
CROSS_ENTROPY_GRADIENT = np.array(
    [-0.7310586, 0.6791787, -0.0621765, -0.1824255, 0.62245935, 0.37754068, -0.22270012, 0,
     -1.6791787, -0.2689414, 0, 0]
)  # fmt: skip


@pytest.mark.parametrize("param", CROSS_ENTROPY)
def test_every_normalization_of_the_cross_entropy_is_caffes(param):
    loss, factor = CROSS_ENTROPY[param]
    body = f"loss_param {{ ignore_label: -1 {param} }}"
    found = loss_and_gradient("SigmoidCrossEntropyLoss", body, A, TARGETS)
    check(found, loss, CROSS_ENTROPY_GRADIENT * factor)


def test_what_is_ignored_is_a_targets_whole_part():
    body = "loss_param { ignore_label: 0 }"
    found = loss_and_gradient("SigmoidCrossEntropyLoss", body, A, TARGETS)
    np.testing.assert_allclose(found[0], 1.4519792, rtol=1e-6)
    np.testing.assert_array_equal(found[1].reshape(3, 4) == 0, np.trunc(TARGETS) == 0)


def test_cross_entropy_of_large_scores_is_finite():
    x, targets = np.array([[500.0, -500, 500]]), np.array([[1.0, 0, 0]])
    loss, gradient = loss_and_gradient("SigmoidCrossEntropyLoss", "", x, targets)
    assert loss == 500
    np.testing.assert_allclose(gradient, [0, 0, 1], atol=1e-30)


def test_with_every_target_ignored_the_cross_entropy_is_0():
    body = "loss_param { ignore_label: 255 normalization: VALID }"
    loss, gradient = loss_and_gradient("SigmoidCrossEntropyLoss", body, A, 0 * A + 255)
    assert loss == 0 and not gradient.any()


def test_cross_entropy_gradients_agree_with_differences():
    x, targets = distinct(3, 2, 4), np.abs(distinct(3, 8, seed=1)) % 1
    run = Run("SigmoidCrossEntropyLoss", "", x, targets)
    check_gradients(run, [x, targets], wanted=[0])


def test_targets_of_another_count_are_refused():
    with pytest.raises(InputError, match=r"'b0' and 'b1' must hold as many.*\(3, 4\) and \(3, 2\)"):
        Run("SigmoidCrossEntropyLoss", "", A, TARGETS[:, :2])


INFOGAIN = {
    "": (
        2.371968,
        [0.01187417, 0.02666449, -0.05819571, 0.01965705, 0.06894203, 0.08904912, -0.12354976,
         -0.03444137, -0.1692642, 0.5691526, -0.06933232, -0.33055618],
    ),
    "ignore_label: 0": (
        4.57366,
        [0.01781126, 0.03999673, -0.08729357, 0.02948557, 0, 0, 0, 0, -0.2538963, 0.8537289,
         -0.10399848, -0.49583426],
    ),
    "ignore_label: 0 normalization: FULL": (
        3.0491066,
        [0.01187417, 0.02666449, -0.05819571, 0.01965705, 0, 0, 0, 0, -0.1692642, 0.5691526,
         -0.06933232, -0.33055618],
    ),
    "ignore_label: 0 normalization: BATCH_SIZE": (
        3.0491066,
        [0.01187417, 0.02666449, -0.05819571, 0.01965705, 0, 0, 0, 0, -0.1692642, 0.5691526,
         -0.06933232, -0.33055618],
    ),
    "ignore_label: 0 normalization: NONE": (
        9.14732,
        [0.03562252, 0.07999346, -0.17458713, 0.05897114, 0, 0, 0, 0, -0.5077926, 1.7074578,
         -0.20799696, -0.9916685],
    ),
}  # fmt: skip


def write_matrix(path, values, **fields):
    blob = caffe_pb2.BlobProto(data=np.ravel(values), **fields)
    path.write_bytes(blob.SerializeToString())
    return f'infogain_loss_param {{ source: "{path}" }}'


@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.parametrize("param", INFOGAIN)
def test_infogain_loss_is_caffes(param, from_file, tmp_path):
    body, arrays = f"loss_param {{ {param} }}", [A, LABELS]
    if from_file:
        size = dict(num=1, channels=1, height=4, width=4)
        body += write_matrix(tmp_path / "H.binaryproto", MATRIX, **size)
    else:
        arrays.append(MATRIX)
    check(loss_and_gradient("InfogainLoss", body, *arrays), *INFOGAIN[param])


def test_infogain_loss_works_along_any_axis():
    x = np.arange(24).reshape(2, 3, 4) * 7 % 11 / 4
    body = "infogain_loss_param { axis: -1 }"
    gradient = [0.07343819, 0.00555737, 0.02071865, -0.0997142]  # of the first of 6 labels
    labels = np.arange(6).reshape(2, 3) % 4
    loss, found = loss_and_gradient("InfogainLoss", body, x, labels, MATRIX)
    check((loss, found[:4]), 1.6664423, gradient)


def test_infogain_gradients_agree_with_differences():
    x, labels = distinct(2, 3, 2), np.array([[0, 2], [1, 1]])
    matrix = distinct(3, 3)
    run = Run("InfogainLoss", "loss_param { ignore_label: 2 }", x, labels, matrix)
    check_gradients(run, [x, labels, matrix], wanted=[0])


def test_the_unit_matrix_makes_it_the_softmax_loss():
    body = "loss_param { ignore_label: 3 }"
    found = loss_and_gradient("InfogainLoss", body, A, LABELS, np.eye(4))
    check(found, *loss_and_gradient("SoftmaxWithLoss", body, A, LABELS))


def test_the_matrix_of_a_bottom_may_change_from_pass_to_pass():
    run = Run("InfogainLoss", "", A, LABELS, MATRIX)
    first = run.forward()
    run.bottom[2].data[...] *= -2
    np.testing.assert_allclose(run.forward(), -2 * first, rtol=1e-6)


def test_the_second_top_is_the_probabilities():
    run = Run("InfogainLoss", "", A, LABELS, MATRIX, tops=2)
    run.forward()
    np.testing.assert_allclose(run.top[1].data, Run("Softmax", "", A).forward())


def test_a_probability_below_1e_20_costs_as_much_as_that():
    x = np.array([[0, 0, 300.0, 0]])
    loss, gradient = loss_and_gradient("InfogainLoss", "", x, np.array([1]), MATRIX)
    np.testing.assert_allclose(loss, 23.02585, rtol=1e-6)
    np.testing.assert_allclose(gradient, [0, -0.125, 0.5, -0.375], atol=1e-20)


def test_a_matrix_that_is_not_there_or_of_another_size_is_named(tmp_path):
    path = tmp_path / "H.binaryproto"
    with pytest.raises(InputError, match="needs its matrix as a third bottom or .* source"):
        Run("InfogainLoss", "", A, LABELS)
    with pytest.raises(InputError, match=r"'b2' holds 9 numbers; 4 classes need 16"):
        Run("InfogainLoss", "", A, LABELS, np.zeros((3, 3)))
    body = write_matrix(path, np.zeros(9), shape={"dim": [3, 3]})
    with pytest.raises(InputError, match=r"H\.binaryproto' holds 9 numbers; 4 classes need 16"):
        Run("InfogainLoss", body, A, LABELS)


def test_a_matrix_file_that_cannot_be_read_is_named_with_the_layer(tmp_path):
    path = tmp_path / "H.binaryproto"
    body = write_matrix(path, MATRIX, shape={"dim": [4, 4]})
    whole = path.read_bytes()
    for content in (b"", whole[:-7], b"no protobuf at all"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"layer 'L' \(InfogainLoss\): source: .*binaryproto"):
            Run("InfogainLoss", body, A, LABELS)
    path.unlink()
    with pytest.raises(InputError, match=r"source: .*binaryproto.*[Nn]o such file"):
        Run("InfogainLoss", body, A, LABELS)


def test_infogain_loss_refuses_the_older_normalize():
    with pytest.raises(InputError, match="use normalization"):
        Run("InfogainLoss", "loss_param { normalize: true }", A, LABELS, MATRIX)


@pytest.mark.parametrize(
    ("kind", "arrays"),
    [
        ("HingeLoss", [A, LABELS]),
        ("MultinomialLogisticLoss", [np.abs(A) + 1, LABELS]),
        ("SigmoidCrossEntropyLoss", [A, TARGETS]),
        ("InfogainLoss", [A, LABELS, MATRIX]),
        ("ContrastiveLoss", [A, B, ALIKE]),
    ],
)
def test_no_bottom_but_the_scores_gets_a_gradient(kind, arrays):
    run = Run(kind, "", *arrays)
    run.forward()
    run.backward(1, down=[False] * len(arrays))
    assert not run.bottom[0].diff.any()
    with pytest.raises(InputError, match="cannot backpropagate to"):
        run.backward(1, down=[False] * (len(arrays) - 1) + [True])
