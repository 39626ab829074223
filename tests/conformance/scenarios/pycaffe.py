"""Scenarios of pycaffe's Python modules: io, Classifier, Detector, draw."""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np

import caffe
import caffe.io

from .common import fill_params, make_net, write_text


def _readable_pictures():
    """Debian 11's scikit-image calls `as_gray` what BVLC Caffe calls `as_grey`: undo that."""
    if not hasattr(caffe, "engine"):
        import skimage.io

        read = skimage.io.imread
        skimage.io.imread = lambda name, as_grey=False: read(name, as_gray=as_grey)


class _IntegerIndices(np.ndarray):
    """An array that takes 3.0 as an index, as NumPy did when BVLC's Detector was written."""

    def __getitem__(self, key):
        if isinstance(key, tuple) and all(isinstance(k, slice) for k in key):
            key = tuple(slice(*(None if v is None else int(v) for v in (k.start, k.stop)))
                        for k in key)  # fmt: skip
        return np.asarray(self)[key]


def resized(args, arrays):
    """Every array at its size; args["sizes"] by name."""
    return {
        name: caffe.io.resize_image(image, tuple(args["sizes"][name]), args["order"])
        for name, image in arrays.items()
    }


def pictures(args, arrays):
    """load_image of files, in colour and grey."""
    _readable_pictures()
    return {
        f"{name} {color}": caffe.io.load_image(path, color)
        for name, path in args["files"].items()
        for color in (True, False)
    }


def oversampled(args, arrays):
    return {"out": caffe.io.oversample(list(arrays["images"]), tuple(args["size"]))}


def _transformer(shape, args, arrays):
    one = caffe.io.Transformer({"data": tuple(shape)})
    for name in ("transpose", "channel_swap", "raw_scale", "input_scale"):
        if name in args:
            getattr(one, "set_" + name)("data", args[name])
    if "mean" in arrays:
        one.set_mean("data", arrays["mean"])
    return one


def transformed(args, arrays):
    one = _transformer(args["shape"], args, arrays)
    there = one.preprocess("data", arrays["picture"].copy())
    return {"there": there, "back": one.deprocess("data", there[None])}


def transformer_calls(args, arrays):
    """A Transformer for args["shape"] after args["calls"] ([method, value], ...): which calls it
    refuses, and what it makes of the picture, there and back."""
    one = caffe.io.Transformer({"data": tuple(args["shape"])})
    results = {}

    def attempt(what, function, *values):
        try:
            made = function("data", *values)
        except Exception:
            results[what] = "refused"
            return None
        results[what] = "taken" if made is None else np.array(made)
        return made

    for i, (method, value) in enumerate(args["calls"]):
        value = np.array(value) if method == "set_mean" else value
        attempt(f"{i} {method}", getattr(one, method), value)
    there = attempt("preprocess", one.preprocess, arrays["data"].copy())
    if there is not None:
        attempt("deprocess", one.deprocess, there[None])
    return results


def messages(args, arrays):
    """Arrays as BlobProto, BlobProtoVector and Datum, and back."""
    io = caffe.io
    results = {}
    for name, array in sorted(arrays.items()):
        blob = io.array_to_blobproto(array, diff=array + 1)
        results[name + " blob"] = blob.SerializeToString().hex()
        results[name + " back"] = io.blobproto_to_array(blob)
        results[name + " diff"] = io.blobproto_to_array(blob, return_diff=True)
        if array.ndim == 3:
            datum = io.array_to_datum(array, 7)
            results[name + " datum"] = datum.SerializeToString().hex()
            back = io.datum_to_array(datum)
            results[name + " datum back"] = back
            results[name + " datum type"] = str(back.dtype)
    several = io.arraylist_to_blobprotovector_str([arrays[k] for k in sorted(arrays)])
    results["vector"] = several.hex()
    for i, array in enumerate(io.blobprotovector_str_to_arraylist(several)):
        results[f"vector {i}"] = array
    old = caffe.proto.caffe_pb2.BlobProto(num=1, channels=2, height=1, width=3)
    old.data.extend(range(6))
    results["legacy"] = io.blobproto_to_array(old)
    return results


def _weights(prototxt):
    net = caffe.Net(write_text(prototxt), caffe.TEST)
    fill_params(net, 3, 0.01)
    net.save("w.caffemodel")
    return "net.prototxt", "w.caffemodel"


def classified(args, arrays):
    settings = dict(args["settings"])
    if "mean" in arrays:
        settings["mean"] = arrays["mean"]
    net = caffe.Classifier(*_weights(args["prototxt"]), **settings)
    inputs = [arrays["picture"], 1 - arrays["picture"], arrays["picture"][::-1]]
    return {
        "crops": net.predict(inputs),
        "centre": net.predict(inputs, oversample=False),
        "size": [int(n) for n in net.image_dims],
        "crop": [int(n) for n in net.crop_dims],
    }


def detected(args, arrays):
    _readable_pictures()
    settings = dict(args["settings"])
    if "mean" in arrays:
        settings["mean"] = arrays["mean"]
    if settings.get("context_pad"):
        load = caffe.io.load_image
        caffe.io.load_image = lambda name: load(name).view(_IntegerIndices)
    net = caffe.Detector(*_weights(args["prototxt"]), **settings)
    windows = [np.array(window) for window in args["windows"]]
    results = {}
    pairs = [(args["file"], windows), (args["file"], windows[:1])]
    for i, one in enumerate(net.detect_windows(pairs)):
        results[f"{i} window"] = one["window"].tolist()
        results[f"{i} file"] = one["filename"]
        results[f"{i} prediction"] = one["prediction"]
    return results


def _recording_pydot():
    """A module in pydot's place whose graphs only remember what was put into them."""

    class Item:
        def __init__(self, *words, **settings):
            self.words, self.settings, self.items = words, settings, []

        def add_node(self, node):
            self.items.append(node)

        add_edge = add_subgraph = add_node

        def create(self, **settings):
            return repr(settings).encode()

        def shown(self):
            words = [w.shown() if isinstance(w, Item) else w for w in self.words]
            return [type(self).__name__, words, self.settings, [i.shown() for i in self.items]]

    module = types.ModuleType("pydot")
    for name in ("Dot", "Node", "Edge", "Cluster"):
        setattr(module, name, type(name, (Item,), {}))
    return module


def drawn(args, arrays):
    sys.modules["pydot"] = _recording_pydot()
    sys.modules["pydotplus"] = None  # not to be found
    from google.protobuf import text_format

    import caffe.draw

    net = text_format.Parse(args["prototxt"], caffe.proto.caffe_pb2.NetParameter())
    results = {}
    for i, settings in enumerate(args["settings"]):
        results[f"graph {i}"] = caffe.draw.get_pydot_graph(net, **settings).shown()
    results["png"] = caffe.draw.draw_net(net, "LR").decode()
    caffe.draw.draw_net_to_file(net, "net.svg", "TB")
    with open("net.svg") as file:
        results["file"] = file.read().replace("<!-- Drawn by caffe.draw -->\n", "")
    results["types"] = {str(k): v for k, v in caffe.draw.get_pooling_types_dict().items()}
    results["rates"] = [
        caffe.draw.get_layer_lr_mult(one) for one in net.layer if one.type == "Convolution"
    ]
    return results


def _names_of(thing):
    """Its names; a message class's fields among them, which not every protobuf lists."""
    fields = getattr(getattr(thing, "DESCRIPTOR", None), "fields", [])
    return sorted({*dir(thing), *(field.name for field in fields)})


def names(args, arrays):
    """Every name of pycaffe's modules, of the classes that scripts take from them, and of what
    nets and solvers hold: {place: names}."""
    sys.modules["pydot"] = _recording_pydot()
    sys.modules["pydotplus"] = None  # not to be found
    found = {}
    for place in args["modules"]:
        module = importlib.import_module(place)
        found[place] = _names_of(module)
        for name, value in vars(module).items():
            if isinstance(value, type) and not place.endswith("_pb2"):
                found[f"{place}.{name}"] = _names_of(value)
    write_text(args["prototxt"])
    solver = caffe.get_solver(write_text(args["solver"], "solver.prototxt"))
    held = {
        "a solver": solver,
        "its param": solver.param,
        "a net": solver.net,
        "a layer": solver.net.layers[1],
        "a blob": next(iter(solver.net.blobs.values())),
        "parameters": next(iter(solver.net.params.values())),
        "a layer's name": solver.net._layer_names,
    }
    found.update((place, _names_of(value)) for place, value in held.items())
    return found


def wrong_items(args, arrays):
    """The kind of error, by name, that each change of a net's lists by something else raises; and
    what cannot be replaced."""
    net = make_net(args)
    blobs = net.params[args["layer"]]
    changes = {
        "item": lambda item: blobs.__setitem__(0, item),
        "slice": lambda item: blobs.__setitem__(slice(0, 1), [item]),
        "append": lambda item: blobs.append(item),
        "extend": lambda item: blobs.extend([item]),
        "layers": lambda item: net.layers.__setitem__(0, item),
        "names": lambda item: net._layer_names.append(item),
        "blobs": lambda item: net._blobs.append(item),
        **{name: lambda item, name=name: setattr(net, name, item) for name in args["attributes"]},
        "layer's blobs": lambda item: setattr(net.layers[1], "blobs", item),
        "layer's type": lambda item: setattr(net.layers[1], "type", item),
        "data": lambda item: setattr(blobs[0], "data", item),
        "shape": lambda item: setattr(blobs[0], "shape", item),
    }
    found = {}
    for what, change in changes.items():
        for kind, item in (("array", np.zeros(3)), ("list", [1, 2]), ("number", 1.5)):
            try:
                change(item)
                found[f"{what}, {kind}"] = "nothing"
            except (TypeError, AttributeError, IndexError) as error:
                kinds = (TypeError, AttributeError, IndexError)
                found[f"{what}, {kind}"] = next(k for k in kinds if isinstance(error, k)).__name__
    return found


def borrowed(args, arrays):
    """What caffe.io has of scikit-image: resize, with mode="constant", and img_as_float."""
    found = {}
    for name, picture in arrays.items():
        found[f"{name} float"] = caffe.io.skimage.img_as_float(picture)
        for order in args["orders"]:
            size = tuple(args["size"])
            found[f"{name} {order}"] = caffe.io.resize(picture, size, order=order, mode="constant")
    return found


def solver_ranks(args, arrays):
    before = [caffe.solver_count(), caffe.solver_rank()]
    caffe.set_solver_count(3)
    caffe.set_solver_rank(2)
    caffe.set_multiprocess(True)
    caffe.init_log(2)
    caffe.log("not shown")
    timer = caffe.Timer()
    unused = timer.ms
    timer.start()
    timer.stop()
    return {
        "before": before,
        "after": [caffe.solver_count(), caffe.solver_rank()],
        "unused": unused,
        "positive": timer.ms >= 0,
    }
