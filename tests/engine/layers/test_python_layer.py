from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

import caffe
from caffe.core import python_path
from caffe.engine import InputError
from tests.helpers.net_texts import data, layer

MODULE = '''
import caffe
CALLS = []
class Scale(caffe.Layer):
    """Multiplies by its parameter, told in param_str."""
    def setup(self, bottom, top):
        CALLS.append(("setup", self.param_str, self.phase, len(bottom), len(top)))
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = float(self.param_str)
    def reshape(self, bottom, top):
        CALLS.append(("reshape", bottom[0].num, bottom[0].channels, bottom[0].count))
        top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data * bottom[0].data
    def backward(self, top, propagate_down, bottom):
        CALLS.append(("backward", list(propagate_down)))
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum()
        if propagate_down[0]:
            bottom[0].diff[...] = self.blobs[0].data * top[0].diff
class WithInit(Scale):
    def __init__(self, *args):
        CALLS.append(("init", len(args)))
        super().__init__(*args)
        self.mine = 1
class WithoutSuper(Scale):
    def __init__(self, layer_param):
        self.mine = 1
class Raises(Scale):
    def setup(self, bottom, top):
        raise ZeroDivisionError("mine")
class OnlyForward(caffe.Layer):
    def setup(self, bottom, top):
        pass
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data
class NoReshape(caffe.Layer):
    def setup(self, bottom, top):
        pass
    forward = setup
class NoLayer:
    pass
def function(*args):
    raise AssertionError("called")
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on PYTHONPATH with the module `own_layers`, forgotten afterwards."""
    place = tmp_path / "own layers"
    place.mkdir()
    (place / "own_layers.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(place))
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr(python_path, "_added", [])
    before = set(sys.modules)
    yield place
    for name in set(sys.modules) - before:
        del sys.modules[name]


def python(kind, module="own_layers", text="3"):
    param = f'python_param {{ module: "{module}" layer: "{kind}" param_str: "{text}" }}'
    return data(2, 4) + layer("p", "Python", "data", more=param)


def calls():
    return sys.modules["own_layers"].CALLS


def test_a_users_layer_sets_up_runs_forward_and_back(make, folder):
    net = make("force_backward: true " + python("Scale"), caffe.TRAIN)
    assert calls()[0] == ("setup", "3", caffe.TRAIN, 1, 1)
    net.blobs["data"].data[...] = 2
    net.forward()
    assert (net.blobs["p"].data == 6).all()
    net.blobs["p"].diff[...] = 1
    net.backward()
    assert calls()[-1] == ("backward", [True])
    assert (net.blobs["data"].diff == 3).all()
    assert net.params["p"][0].diff == 16


def test_a_layer_without_backward_is_refused_once_a_gradient_has_to_come_through(make, folder):
    net = make(python("OnlyForward"), caffe.TRAIN)
    net.forward()
    net.backward()  # nothing below has a gradient
    net = make("force_backward: true " + python("OnlyForward"), caffe.TRAIN)
    net.forward()
    with pytest.raises(InputError, match=r"layer 'p' \(Python\): class 'OnlyForward'.*'backward'"):
        net.backward()


def test_a_layer_without_reshape_is_refused(make, folder):
    with pytest.raises(
        InputError, match=r"layer 'p' \(Python\): class 'NoReshape'.*'reshape': write def reshape"
    ):
        make(python("NoReshape"))


def test_reshape_runs_before_every_forward(make, folder):
    net = make(python("Scale"))
    net.blobs["data"].reshape(5, 4)
    net.forward()
    assert calls()[-1] == ("reshape", 5, 4, 20)
    assert net.blobs["p"].data.shape == (5, 4)


def test_phase_is_the_nets(make, folder):
    make(python("Scale"), caffe.TEST)
    assert calls()[0][2] == caffe.TEST


@pytest.mark.parametrize("kind", ["WithInit", "WithoutSuper"])
def test_a_class_may_have_its_own_init_which_gets_one_argument(make, folder, kind):
    net = make(python(kind), caffe.TRAIN)
    assert net.layers[1].mine == 1
    assert net.layers[1].phase == caffe.TRAIN
    if kind == "WithInit":
        assert calls()[:2] == [("init", 1), ("setup", "3", caffe.TRAIN, 1, 1)]


def test_its_parameters_are_saved_loaded_and_shared_as_any_others(make, folder):
    net = make(python("Scale"))
    net.params["p"][0].data[...] = 8
    net.save("w.caffemodel")
    other = make(python("Scale"), weights="w.caffemodel")
    assert other.params["p"][0].data == 8


def test_its_exceptions_come_through_unchanged(make, folder):
    with pytest.raises(ZeroDivisionError, match="^mine$"):
        make(python("Raises"))


@pytest.mark.parametrize(
    ("kind", "words"), [("scale", "did you mean 'Scale'"), ("Other", "it has Scale")]
)
def test_a_class_that_its_module_lacks_is_told_with_those_that_are_there(make, folder, kind, words):
    with pytest.raises(InputError, match=f"layer 'p'.*'own_layers' has no class '{kind}'.*{words}"):
        make(python(kind))


@pytest.mark.parametrize("kind", ["NoLayer", "function", "CALLS", "caffe"])
def test_only_subclasses_of_layer_are_made(make, folder, kind):
    with pytest.raises(InputError, match=f"layer 'p'.*'{kind}'.*subclass of caffe.Layer"):
        make(python(kind))


def test_module_and_layer_must_be_given(make, folder):
    with pytest.raises(InputError, match="layer 'p'.*needs module and layer"):
        make(python("Scale", module=""))


def test_an_unknown_module_says_where_modules_come_from(make, folder):
    with pytest.raises(InputError, match="net.prototxt: layer 'p'.*'nowhere_layers'.*PYTHONPATH"):
        make(python("Scale", module="nowhere_layers"))


def test_a_module_that_cannot_be_imported_says_why(make, folder):
    (folder / "needs_more.py").write_text("import a_package_that_is_not_there\n")
    with pytest.raises(InputError, match="needs_more.*a_package_that_is_not_there"):
        make(python("Scale", module="needs_more"))


@pytest.mark.parametrize(
    ("code", "words"), [("def broken(:", "SyntaxError.*line 1"), ("1 / 0", "ZeroDivisionError")]
)
def test_a_module_whose_code_fails_is_told_in_one_line(make, folder, code, words):
    (folder / "fails.py").write_text(code)
    with pytest.raises(InputError, match=f"layer 'p'.*'fails' cannot be imported: {words}"):
        make(python("Scale", module="fails"))


INSTALLED = (
    "antigravity",
    "this",
    "lib2to3.main",
    "xxsubtype",
    "__hello__",
    "pip",
    "setuptools.dist",
)


@pytest.mark.parametrize("module", INSTALLED)
def test_pythons_own_and_installed_modules_are_refused_without_importing_them(make, folder, module):
    if module in sys.modules:
        pytest.skip(f"{module} is imported already")
    with pytest.raises(InputError, match="layer 'p'"):
        make(python("Scale", module=module))
    assert module not in sys.modules


@pytest.mark.parametrize("module", ["os", "subprocess", "numpy"])
def test_imported_modules_give_no_layers_that_are_none(make, folder, module):
    with pytest.raises(InputError, match="layer 'p'"):
        make(python("system", module=module))


def write_trap(place):
    place.mkdir(parents=True, exist_ok=True)
    (place / "__init__.py").write_text("raise AssertionError('imported')\n")


def test_installed_packages_below_an_allowed_folder_are_refused(make, folder, monkeypatch):
    """As where .venv lies in the checkout and the checkout is on PYTHONPATH."""
    site = folder / ".venv" / "lib" / "site-packages"
    write_trap(site / "trap_package")
    (site / "trap_module.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    for module in ("trap_package", "trap_module", "trap_package.inner"):
        with pytest.raises(InputError, match="not in a folder"):
            make(python("Scale", module=module))


def test_a_namespace_package_counts_only_if_all_its_parts_are_allowed(make, folder, monkeypatch):
    elsewhere = folder.parent / "site-packages"
    for place in (folder, elsewhere):
        (place / "parts").mkdir(parents=True)
    (elsewhere / "parts" / "inner.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(elsewhere)])
    with pytest.raises(InputError, match="not in a folder"):
        make(python("Scale", module="parts.inner"))


def test_packages_and_links_in_an_allowed_folder_are_loaded(make, folder):
    package = folder / "own_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(MODULE)
    assert (make(python("Scale", module="own_package.inner")).forward()["p"] == 0).all()
    (folder.parent / "linked.py").write_text(MODULE)
    (folder / "linked_layers.py").symlink_to(folder.parent / "linked.py")
    assert (make(python("Scale", module="linked_layers")).forward()["p"] == 0).all()


def test_a_folder_that_a_script_appends_to_pythons_path_is_allowed(make, folder, monkeypatch):
    place = folder.parent / "appended"
    place.mkdir()
    (place / "appended_layers.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [*sys.path, str(place)])
    monkeypatch.setenv("PYTHONPATH", "")
    assert (make(python("Scale", module="appended_layers")).forward()["p"] == 0).all()


def test_a_folder_can_be_added(make, folder, monkeypatch):
    place = folder.parent / "more"
    place.mkdir()
    (place / "more_layers.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(InputError, match="more_layers"):
        make(python("Scale", module="more_layers"))
    python_path.add(place)
    net = make(python("Scale", module="more_layers"))
    np.testing.assert_array_equal(net.params["p"][0].data, [3])


def test_site_packages_are_not_allowed_even_on_pythonpath(monkeypatch):
    installed = sysconfig.get_path("purelib")
    monkeypatch.setenv("PYTHONPATH", installed)
    assert installed not in [str(p) for p in python_path.folders()]


EVIL = "open('ran', 'w').write('')\nimport caffe\nclass Scale(caffe.Layer):\n    pass\n"


@pytest.fixture
def download(tmp_path, monkeypatch):
    """A folder to stand in, with a net, code that it names, and a file in NumPy's place."""
    place = tmp_path / "download"
    place.mkdir()
    monkeypatch.chdir(place)
    (place / "evil.py").write_text(EVIL)
    (place / "net.prototxt").write_text(
        'layer { name: "p" type: "Python" top: "p" python_param { module: "evil" layer: "Scale" } }'
    )
    return place


TIME = ("-m", "caffe", "time", "-model", "net.prototxt")
NET = ("-c", "import caffe; caffe.Net('net.prototxt', caffe.TEST)")


def run_there(root, words, path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "engine"), *path])}
    return subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True)


@pytest.mark.parametrize("words", [TIME, NET], ids=["-m", "-c"])
@pytest.mark.parametrize("path", [[], ["."], [""], ["./"]], ids=["none", "dot", "empty", "slash"])
def test_code_beside_a_net_is_not_run_because_the_process_stands_there(download, root, words, path):
    run = run_there(root, words, path)
    assert run.returncode and not (download / "ran").exists()
    assert "folder" in run.stderr and "PYTHONPATH" in run.stderr


@pytest.mark.parametrize("words", [TIME, NET], ids=["-m", "-c"])
def test_a_folder_that_pythonpath_names_in_full_is_allowed(download, root, words):
    run_there(root, words, [str(download)])
    assert (download / "ran").exists()


def test_a_scripts_own_folder_is_allowed(download, root):
    (download / "script.py").write_text(NET[1])
    run_there(root, ["script.py"], [])
    assert (download / "ran").exists()


def test_the_command_runs_no_file_in_numpys_place(download, root):
    (download / "numpy.py").write_text(EVIL)
    run = run_there(root, ["-m", "caffe", "--help"], [])
    assert run.returncode == 0, run.stderr
    assert not (download / "ran").exists()


class OwnNames(caffe.Layer):
    """Uses names for itself that the engine's own layers use too."""

    def setup(self, bottom, top):
        for name in ("_masks", "_windows", "_lean", "_folds", "_loss_weights", "_forget",
                     "_backward_reads", "_reads_as_stored", "_selects", "_can_run_again",
                     "_keeps_tops", "_param", "num_bottom", "held_state", "is_loss",
                     "users"):  # fmt: skip
            setattr(self, name, {"kept": name})

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        assert self._masks == {"kept": "_masks"} and self._loss_weights["kept"]
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        assert self._lean == {"kept": "_lean"}
        bottom[0].diff[...] = 2 * top[0].diff


@pytest.mark.parametrize("lean", [False, True])
def test_a_layer_may_use_any_attribute_for_itself(write, lean):
    caffe.engine.set_lean(lean)
    try:
        net = caffe.Net(
            write(f"""force_backward: true
            layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 3 }} }} }}
            layer {{ name: "own" type: "Python" bottom: "data" top: "own" loss_weight: 1
              python_param {{ module: "{__name__}" layer: "OwnNames" }} }}"""),
            caffe.TRAIN,
        )
    finally:
        caffe.engine.set_lean(False)
    net.blobs["data"].data[...] = [1, 2, 3]
    assert net.forward()["own"].tolist() == [2, 4, 6]
    assert net.backward()["data"].tolist() == [2, 2, 2]
    assert isinstance(net.layers[1], OwnNames) and net.layer_dict["own"]._param["kept"]


def test_a_snapshot_calls_no_attribute_of_a_layers_own(write, tmp_path):
    net = write(f"""
        layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 3 }} }} }}
        layer {{ name: "own" type: "Python" bottom: "data" top: "own" loss_weight: 1
          python_param {{ module: "{__name__}" layer: "OwnNames" }} }}""")
    (tmp_path / "own_solver.prototxt").write_text(
        f"train_net: '{net}' base_lr: 1 lr_policy: 'fixed' snapshot_prefix: '{tmp_path}/s'"
    )
    solver = caffe.get_solver(str(tmp_path / "own_solver.prototxt"))
    assert solver.snapshot() == f"{tmp_path}/s_iter_0.solverstate"
