"""Nets written in Python: ``layers``, ``params``, ``NetSpec`` and ``to_proto``.

::

    from caffe import layers as L, params as P

    n = caffe.NetSpec()
    n.data, n.label = L.Python(module="voc_layers", layer="VOCSegDataLayer", ntop=2, param_str="…")
    n.conv1 = L.Convolution(n.data, num_output=20, kernel_size=5, param=[dict(lr_mult=1)])
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.relu1 = L.ReLU(n.pool1, in_place=True)
    print(n.to_proto())

A keyword sets the field of that name in the layer type's own message (``num_output`` of
``convolution_param``), or else in the layer itself (``name``, ``include``, ``loss_weight``).
``ntop`` and ``in_place`` are no fields: the number of tops, and whether the top is the bottom.
Tops that have no name get their layer's type and a number.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from caffe.proto import caffe_pb2, forks
from caffe.proto.hints import did_you_mean


def param_name_dict() -> dict[str, str]:
    """Layer type -> its message's field in LayerParameter (``Convolution: convolution_param``)."""
    fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields
    return {
        field.message_type.name[: -len("Parameter")]: field.name
        for field in fields
        if field.name.endswith("_param") and field.message_type is not None
    }


_param_names = param_name_dict()
# Types that are set up by another type's message; BVLC Caffe makes one spell it out.
_BORROWED = {"Deconvolution": "Convolution", "Im2col": "Convolution"}


def _unknown_field(name: str, *messages) -> AttributeError:
    names = [field.name for message in messages for field in message.DESCRIPTOR.fields]
    told = [forks.of_field(message.DESCRIPTOR.name, name) for message in messages]
    hint = next((f"; {one}" for one in told if one), did_you_mean(name, names))
    where = " and ".join(message.DESCRIPTOR.name for message in messages)
    verb = "have" if len(messages) > 1 else "has"
    return AttributeError(f"{where} {verb} no field '{name}'{hint}")


def assign_proto(proto, name: str, val) -> None:
    """Set a field: dicts fill messages, lists and tuples (or one item) extend repeated fields."""
    field = proto.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise _unknown_field(name, proto)
    target = getattr(proto, name)
    try:
        if hasattr(target, "extend"):
            items = val if isinstance(val, (list, tuple)) else [val]
            for item in items:
                if isinstance(item, dict):
                    _fill(target.add(), item)
                else:
                    target.extend([item])
        elif isinstance(val, dict):
            _fill(target, val)
        elif hasattr(target, "CopyFrom"):
            target.CopyFrom(val)
        else:
            setattr(proto, name, val)
    except (TypeError, ValueError) as err:
        text = " ".join(str(err).split())
        raise type(err)(f"{proto.DESCRIPTOR.name}.{name} = {val!r}: {text}") from None


def _fill(message, values: dict) -> None:
    for name, value in values.items():
        assign_proto(message, name, value)


class Top:
    """One output blob of a layer: ``fn`` is the layer's Function, ``n`` the output's number."""

    def __init__(self, fn: Function, n: int):
        self.fn = fn
        self.n = n

    def to_proto(self):
        """NetParameter of every layer that this top needs."""
        return to_proto(self)


class Function:
    """A layer to be: type, keyword parameters, and the tops it reads."""

    def __init__(self, type_name: str, inputs, params: dict):
        for i, top in enumerate(inputs):
            if not isinstance(top, Top):
                raise TypeError(f"{type_name} input {i} is not a Top (type is {type(top)})")
        self.type_name = type_name
        self.inputs = tuple(inputs)
        self.params = dict(params)
        self.ntop = self.params.pop("ntop", 1)
        self.in_place = self.params.pop("in_place", False)
        if self.in_place and (self.ntop != 1 or len(self.inputs) != 1):
            raise TypeError(f"{type_name} in place must have one input and one top")
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def to_proto(self):
        """NetParameter of this layer and of every layer that it needs."""
        return to_proto(self)

    def _fill_params(self, layer) -> None:
        own = _param_names.get(_BORROWED.get(self.type_name, self.type_name))
        for name, value in self.params.items():
            # Any field ending so is one of the layer's messages, whatever the type.
            if name.endswith("param"):
                assign_proto(layer, name, value)
                continue
            messages = [layer] if own is None else [getattr(layer, own), layer]
            for message in messages:
                if name in message.DESCRIPTOR.fields_by_name:
                    assign_proto(message, name, value)
                    break
            else:
                error = _unknown_field(name, *messages)
                raise AttributeError(f"{self.type_name} layer: {error}")


class _Writer:
    """Layers of the Functions met so far, in an order in which each follows its inputs."""

    def __init__(self, names: dict):
        self.names = dict(names)  # Top, or Function without tops -> name
        self.counts: Counter = Counter()
        self.layers: OrderedDict = OrderedDict()

    def _name(self, item, type_name: str) -> str:
        if item not in self.names:
            self.counts[type_name] += 1
            self.names[item] = f"{type_name}{self.counts[type_name]}"
        return self.names[item]

    def add(self, fn: Function) -> None:
        # A stack of its own instead of recursion: nets may be deeper than Python's stack.
        waiting = [fn]
        while waiting:
            fn = waiting[-1]
            missing = next((top.fn for top in fn.inputs if top.fn not in self.layers), None)
            if fn in self.layers:
                waiting.pop()
            elif missing is not None:
                waiting.append(missing)
            else:
                self.layers[fn] = self._layer(waiting.pop())

    def _layer(self, fn: Function):
        layer = caffe_pb2.LayerParameter(type=fn.type_name)
        layer.bottom.extend(self.layers[top.fn].top[top.n] for top in fn.inputs)
        if fn.in_place:
            layer.top.extend(layer.bottom)
        else:
            layer.top.extend(self._name(top, fn.type_name) for top in fn.tops)
        layer.name = self._name(fn.tops[0] if fn.tops else fn, fn.type_name)
        fn._fill_params(layer)
        return layer

    def net(self):
        net = caffe_pb2.NetParameter()
        net.layer.extend(self.layers.values())
        return net


def _write(items, names: dict):
    writer = _Writer(names)
    for item in items:
        writer.add(item.fn if isinstance(item, Top) else item)
    return writer.net()


def to_proto(*tops):
    """NetParameter of every layer that the given tops (or layers without tops) need."""
    for item in tops:
        if not isinstance(item, (Top, Function)):
            raise TypeError(f"to_proto takes tops of layers, not {type(item)}")
    return _write(tops, {})


class NetSpec:
    """Tops by name; assigning ``n.conv1 = …`` (or ``n["conv1"] = …``) names top and layer.

    ``tops`` is the ordered dict of what was assigned. Under two names, the last one holds.
    """

    def __init__(self):
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name, value):
        if not isinstance(value, (Top, Function)):
            hint = "; it has several tops" if isinstance(value, tuple) else ""
            raise TypeError(f"'{name}' can only be a layer's top, not {type(value)}{hint}")
        self.tops[name] = value

    def __getattr__(self, name):
        if name == "tops" or name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __delattr__(self, name):
        del self[name]

    def __setitem__(self, key, value):
        setattr(self, key, value)

    def __getitem__(self, item):
        try:
            return self.tops[item]
        except KeyError:
            raise MissingTop(f"the net spec has no top '{item}'") from None

    def __delitem__(self, key):
        del self.tops[key]

    def __contains__(self, item):
        return item in self.tops

    def to_proto(self):
        """NetParameter of every layer that the assigned tops need, in order of assignment."""
        names = {top: name for name, top in self.tops.items()}
        return _write(self.tops.values(), names)


class MissingTop(KeyError, AttributeError):
    """A name that nothing was assigned to; pycaffe's own error is a KeyError."""

    def __str__(self):
        return str(self.args[0])


class Layers:
    """``layers.TYPE(*bottoms, **params)`` gives the layer's top, a tuple of them if ``ntop`` is
    more than 1, or the layer itself if it is 0."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def layer(*inputs, **params):
            fn = Function(name, inputs, params)
            if fn.ntop == 0:
                return fn
            return fn.tops[0] if fn.ntop == 1 else fn.tops

        layer.__name__ = name
        return layer


class _Params:
    def __init__(self, message):
        self._message = message

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        values = [
            value.name for enum in self._message.DESCRIPTOR.enum_types for value in enum.values
        ]
        if name not in values:
            known = ", ".join(values) or "none"
            raise AttributeError(
                f"{self._message.DESCRIPTOR.name} has no constant '{name}' (it has: {known})"
            )
        return getattr(self._message, name)


class Parameters:
    """``params.TYPE.CONSTANT``, as ``params.Pooling.MAX``: the enum values of layer messages."""

    def __getattr__(self, name):
        message = getattr(caffe_pb2, name + "Parameter", None)
        if message is None:
            raise AttributeError(f"no layer type has parameters of the name '{name}'")
        return _Params(message)


layers = Layers()
params = Parameters()
