"""LSTMUnit, LSTM, RNN."""

import json

import numpy as np
import pytest

from caffe import log
from caffe.errors import InputError
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern

BODY = 'recurrent_param { num_output: 2 weight_filler { type: "uniform" } %s }'
EXPOSED = BODY % "expose_hidden: true"
STATES = {"LSTM": 2, "RNN": 1}
KINDS = pytest.mark.parametrize("kind", STATES)
CONT = np.array([[1, 0], [1, 1], [0, 1]], np.float32)
BEGINS = np.array([[0, 0], [1, 1], [0, 1]], np.float32)


def sequence(kind, *more, cont=CONT, body=BODY % "", tops=1):
    """A layer over x (3, 2, 3), with the parameters and bottoms that BVLC Caffe was given too."""
    run = Run(kind, body, pattern(len(cont), 2, 3) * 0.1, cont, *more, tops=tops)
    for blob in run.layer.blobs:
        blob.data[...] = pattern(*blob.shape) * 0.1
    return run


# From BVLC Caffe: the second forward pass's output; the sums of x's, x_static's and the
# parameters' gradients.
KNOWN = {
    "LSTM": (
        [
            [[0.11397695, -0.00711747], [0.08227134, 0.00582005]],
            [[0.13206206, -0.04582813], [0.11275653, 0.02776996]],
            [[0.1640191, 0.04547164], [0.22211349, 0.15106228]],
        ],
        [[-0.16360524, 0.10423552, -0.33182138], [0.00106583, -0.5723764, 0.46173516]],
        [[0.5224703, 0.10971062], [0.13269922, -0.01652735]],
        [0.83113586, 0.74751906, 0.53477115, -0.29305852],
    ),
    "RNN": (
        [
            [[-0.35483545, 0.5541295], [-0.02778319, 0.6724407]],
            [[-0.0456119, 0.68051594], [-0.15573189, 0.68391895]],
            [[-0.10908534, 0.56442815], [-0.10028788, 0.6697646]],
        ],
        [[-0.49751747, 0.37173262, -0.12362257], [-0.04507889, 0.3169738, -0.16374299]],
        [[-0.61337864, 0.7425343], [0.39163327, -0.13136238]],
        [1.26403487, 1.18988207, -0.56727016, -1.47441663, 3.93819946, 4.75892353],
    ),
}


@KINDS
def test_the_numbers_are_bvlc_caffes(kind):
    output, dx, dstatic, sums = KNOWN[kind]
    run = sequence(kind, pattern(2, 2) * 0.1)
    run.forward()
    np.testing.assert_allclose(run.forward(), output, atol=1e-6)
    found = run.backward(pattern(3, 2, 2), down=[True, False, True])
    np.testing.assert_allclose(found[0][0], dx, atol=2e-6)
    np.testing.assert_allclose(found[2], dstatic, atol=2e-6)
    found = [blob.diff.astype(float).sum() for blob in run.layer.blobs]
    np.testing.assert_allclose(found, sums, atol=1e-5)


def test_an_lstm_unit_has_bvlc_caffes_numbers():
    run = Run("LSTMUnit", "", pattern(1, 2, 1), pattern(1, 2, 4) * 0.5, [[1, 0]], tops=2)
    np.testing.assert_allclose(run.forward().ravel(), [-3.1516845, 0.33783472], rtol=1e-6)
    np.testing.assert_allclose(run.top[1].data.ravel(), [-0.3761613, 0.30084786], rtol=1e-6)
    cells, gates, _ = run.backward(1, 2, down=[True, True, False])
    np.testing.assert_allclose(cells.ravel(), [0.8220773, 0], rtol=1e-6)
    first = [1.0504976e-01, -5.9987146e-01, -4.6829021e-01, 1.1825330e-03]
    second = [2.4099161e-01, 0, 4.5643538e-02, 1.5249724]
    np.testing.assert_allclose(gates[0], [first, second], rtol=2e-5)


def test_an_lstm_units_gradients_agree_with_differences():
    arrays = [distinct(1, 2, 3), distinct(1, 2, 12, seed=1), np.array([[1, 0]])]
    check_gradients(Run("LSTMUnit", "", *arrays, tops=2), arrays, [0, 1])


@KINDS
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("static", [False, True])
def test_gradients_agree_with_differences(kind, steps, static):
    arrays = [distinct(steps, 2, 3) * 0.3, BEGINS[:steps]]
    arrays += [distinct(2, 2, 2) * 0.3] if static else []
    check_gradients(Run(kind, BODY % "", *arrays), arrays, [0, 2] if static else [0])


@KINDS
def test_gradients_go_back_to_the_first_step_and_not_beyond(kind):
    run = sequence(kind, cont=np.ones((3, 2)))
    run.forward(), run.forward()
    last = np.zeros((3, 2, 2))
    last[-1] = 1
    dx = run.backward(last, down=[True, False])[0]
    assert (np.abs(dx).max((1, 2)) > 0).all()
    run.set(run.bottom[0].data, np.array([[1, 1], [1, 1], [0, 0]]))
    run.forward()
    dx = run.backward(last, down=[True, False])[0]
    assert not dx[:2].any() and dx[2].any()


@KINDS
def test_parameters_gradients_add_up(kind):
    run = sequence(kind, pattern(2, 2) * 0.1)
    run.forward()
    run.backward(pattern(3, 2, 2), down=[True, False, True])
    once = [blob.diff.copy() for blob in run.layer.blobs]
    dx = run.bottom[0].diff.copy()
    run.backward(pattern(3, 2, 2), down=[True, False, True])
    for blob, diff in zip(run.layer.blobs, once):
        np.testing.assert_allclose(blob.diff, 2 * diff, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(run.bottom[0].diff, dx)


@KINDS
def test_two_halves_give_what_the_whole_gives(kind):
    x, cont = distinct(4, 2, 3) * 0.3, np.array([[0, 0], [1, 1], [1, 1], [0, 1]])
    whole, halves = Run(kind, BODY % "", x, cont), Run(kind, BODY % "", x[:2], cont[:2])
    for mine, theirs in zip(halves.layer.blobs, whole.layer.blobs):
        mine.data[...] = theirs.data
    expected = whole.forward()
    first = halves.forward()
    halves.set(x[2:], cont[2:])
    np.testing.assert_allclose([*first, *halves.forward()], expected, rtol=1e-5, atol=1e-7)


@KINDS
def test_exposed_states_are_taken_from_the_bottoms_and_given_by_the_tops(kind):
    states = [distinct(1, 2, 2, seed=i) for i in range(STATES[kind])]
    run = sequence(kind, *states, body=EXPOSED, tops=1 + len(states))
    once = run.forward()
    np.testing.assert_array_equal(run.forward(), once)
    if kind == "LSTM":
        np.testing.assert_array_equal(run.top[1].data[0], once[-1])
    run.set(run.bottom[0].data, CONT, *(blob.data for blob in run.top[1:]))
    assert np.abs(run.forward() - once).max() > 1e-3


@KINDS
def test_exposed_states_take_and_give_no_gradient(kind):
    states = [distinct(1, 2, 2, seed=i) for i in range(STATES[kind])]
    run = sequence(kind, *states, body=EXPOSED, tops=1 + len(states))
    run.forward()
    for blob in run.bottom[2:]:
        blob.diff[...] = 7
    diffs = run.backward(0, *[1] * len(states), down=[True, False, *[True] * len(states)])
    assert not diffs[0].any()
    assert all((diff == 7).all() for diff in diffs[2:])


@KINDS
def test_fillers_and_shapes_of_the_parameters(kind):
    body = (
        'recurrent_param { num_output: 2 weight_filler { type: "constant" value: 3 } '
        'bias_filler { type: "constant" value: -1 } }'
    )
    run = Run(kind, body, distinct(3, 2, 3, 2), CONT, distinct(2, 5))
    blobs = run.layer.blobs
    if kind == "LSTM":
        assert [b.shape for b in blobs] == [(8, 6), (8,), (8, 5), (8, 2)]
    else:
        assert [b.shape for b in blobs] == [(2, 6), (2,), (2, 5), (2, 2), (2, 2), (2,)]
    for blob in blobs:
        assert (blob.data == (-1 if len(blob.shape) == 1 else 3)).all()


@pytest.fixture
def all_logged():
    """Whatever the environment says, all messages are logged."""
    log.set_min_level(log.INFO)
    yield
    log.set_min_level(None)


@KINDS
def test_debug_info_logs_the_magnitudes_within(kind, capfd, all_logged):
    run = sequence(kind, body=BODY % "debug_info: true")
    capfd.readouterr()
    run.forward()
    said = capfd.readouterr().err
    size = np.abs(run.top[0].data).mean()
    name = {"LSTM": "h_concat, top blob h", "RNN": "o_concat, top blob o"}[kind]
    line = next(line for line in said.splitlines() if name in line)
    assert "    [Forward] Layer L_" in line
    assert float(line.split()[-1]) == pytest.approx(size, rel=1e-4)
    run.backward(1, down=[True, False])
    assert "[Backward] Layer L_x_transform, bottom blob x diff: " in capfd.readouterr().err


@KINDS
def test_without_debug_info_nothing_is_logged(kind, capfd, all_logged):
    run = sequence(kind)
    run.forward()
    run.backward(1, down=[True, False])
    assert capfd.readouterr().err == ""


X, STATIC = distinct(3, 2, 3), distinct(2, 4)
STATE = distinct(1, 2, 2)
WRONG = [
    ("num_output of at least 1", "recurrent_param { }", [X, CONT], 1),
    (r"needs x of shape \(T, N", BODY % "", [X[..., 0], CONT], 1),
    (r"'b1' must be of shape \(3, 2\)", BODY % "", [X, CONT[:2]], 1),
    (r"'b2' must be of shape \(2, 4\).*it is \(1, 4\)", BODY % "", [X, CONT, STATIC[:1]], 1),
    (r"'b2' must be of shape \(N, ...\)", BODY % "", [X, CONT, STATIC[:, 0]], 1),
]


@KINDS
@pytest.mark.parametrize(("message", "body", "bottoms", "tops"), WRONG)
def test_what_does_not_fit_is_refused(kind, message, body, bottoms, tops):
    with pytest.raises(InputError, match=f"layer 'L' .{kind}.: .*{message}"):
        Run(kind, body, *bottoms, tops=tops)


def test_an_exposed_state_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"'b2' must be of shape \(1, 2, 2\)"):
        Run("RNN", EXPOSED, X, CONT, STATE[0], tops=2)


@KINDS
@pytest.mark.parametrize(
    ("shape", "message"), [((4, 2, 3), "time steps"), ((3, 2, 4), "3 inputs from axis 2 on")]
)
def test_steps_and_inputs_cannot_change(kind, shape, message):
    run = sequence(kind)
    run.bottom[0].reshape(*shape)
    with pytest.raises(InputError, match=message):
        run.forward()


@KINDS
def test_the_indicators_have_no_gradient(kind):
    run = sequence(kind)
    run.forward()
    with pytest.raises(InputError, match="continuation indicators"):
        run.backward(1)


@KINDS
def test_backward_before_forward_is_refused(kind):
    with pytest.raises(InputError, match="needs a forward pass"):
        sequence(kind).backward(1, down=[True, False])


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 2, 3), (1, 2, 11), (1, 2)],
        [(2, 2, 3), (2, 2, 12), (2, 2)],
        [(1, 2, 3), (1, 2, 12), (1, 2, 1)],
        [(1, 2), (1, 2, 12), (1, 2)],
    ],
)
def test_an_lstm_unit_of_other_shapes_is_refused(shapes):
    with pytest.raises(InputError, match=r"needs cells \(1, N, D\)"):
        Run("LSTMUnit", "", *(np.zeros(shape) for shape in shapes), tops=2)


def test_an_lstm_unit_has_no_gradient_for_its_indicators():
    run = Run("LSTMUnit", "", np.zeros((1, 2, 1)), np.zeros((1, 2, 4)), [[1, 0]], tops=2)
    run.forward()
    with pytest.raises(InputError, match="continuation indicators"):
        run.backward(1, 1)


@KINDS
def test_a_restored_state_goes_on_with_the_sequences(kind):
    first, second = sequence(kind), sequence(kind)
    first.forward()
    second.layer.restore_state(json.loads(json.dumps(first.layer.state())))
    np.testing.assert_array_equal(second.forward(), first.forward())


@KINDS
def test_a_state_of_another_number_of_sequences_is_restored(kind):
    first, second = sequence(kind), sequence(kind)
    for run in (first, second):
        run.bottom[0].reshape(3, 1, 3), run.bottom[1].reshape(3, 1)
        run.set(pattern(3, 1, 3), np.ones((3, 1)))
    first.forward()
    second.layer.carried[0].reshape(1, 2, 2)
    second.layer.restore_state(first.layer.state())
    np.testing.assert_array_equal(second.forward(), first.forward())


@pytest.mark.parametrize("wrong", ["", "AAAA", "no base64!"])
def test_a_state_of_another_size_is_refused_and_changes_nothing(wrong):
    run = sequence("LSTM")
    run.forward()
    before = run.layer.state()
    with pytest.raises(ValueError):
        run.layer.restore_state({**before, "c": wrong})
    assert run.layer.state() == before
