"""What happens to a NetParameter before layers are made: phase rules and splits."""

from __future__ import annotations

from collections import Counter

from ..errors import InputError
from ..proto import caffe_pb2


def meets_rule(state, rule) -> bool:
    """Whether a NetState satisfies every condition that a NetStateRule sets."""
    stages = set(state.stage)
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and stages.issuperset(rule.stage)
        and stages.isdisjoint(rule.not_stage)
    )


def _is_included(layer, state) -> bool:
    if layer.include and layer.exclude:
        raise InputError(f"layer '{layer.name}' has include and exclude rules; give one kind")
    if layer.include:
        return any(meets_rule(state, rule) for rule in layer.include)
    return not any(meets_rule(state, rule) for rule in layer.exclude)


def filter_layers(net):
    """A copy of `net` with only the layers that its state (phase, level, stages) includes."""
    filtered = caffe_pb2.NetParameter()
    filtered.CopyFrom(net)
    del filtered.layer[:]
    for layer in net.layer:
        if _is_included(layer, net.state):
            filtered.layer.add().CopyFrom(layer)
    return filtered


def insert_splits(net):
    """A copy of `net` in which a blob that several layers read goes through a Split layer.

    Each reader then has a top of its own, so that the gradients can be summed. A top with a
    loss weight counts as one more reader, and its first split carries the weight. Names are
    Caffe's: layer `<blob>_<layer>_<top index>_split`, tops with `_<k>` behind.
    """
    producer: dict[str, tuple[int, int]] = {}  # blob name -> (layer index, top index), latest
    source: dict[tuple[int, int], tuple[int, int]] = {}  # (layer, bottom index) -> its producer
    readers: Counter = Counter()
    for i, layer in enumerate(net.layer):
        for j, name in enumerate(layer.bottom):
            if name not in producer:
                raise InputError(
                    f"layer '{layer.name}' ({layer.type}): unknown bottom blob '{name}' "
                    f"(bottom {j}); no earlier layer makes it"
                )
            source[i, j] = producer[name]
            readers[producer[name]] += 1
        for j, name in enumerate(layer.top):
            producer[name] = (i, j)
            if j < len(layer.loss_weight) and layer.loss_weight[j]:
                readers[i, j] += 1
    taken: Counter = Counter()  # splits handed out so far, per produced top
    result = caffe_pb2.NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    for i, layer in enumerate(net.layer):
        copy = result.layer.add()
        copy.CopyFrom(layer)
        for j in range(len(layer.bottom)):
            made = source[i, j]
            if readers[made] > 1:
                k = taken[made]
                taken[made] += 1
                copy.bottom[j] = _split_name(net, made) + f"_{k}"
        for j, name in enumerate(layer.top):
            if readers[i, j] <= 1:
                continue
            weight = layer.loss_weight[j] if j < len(layer.loss_weight) else 0
            split = result.layer.add(name=_split_name(net, (i, j)), type="Split", bottom=[name])
            for k in range(readers[i, j]):
                split.top.append(f"{split.name}_{k}")
                if weight:
                    split.loss_weight.append(0 if k else weight)
            if weight:
                copy.loss_weight[j] = 0
                taken[i, j] = 1
    return result


def _split_name(net, made: tuple[int, int]) -> str:
    i, j = made
    layer = net.layer[i]
    return f"{layer.top[j]}_{layer.name}_{j}_split"
