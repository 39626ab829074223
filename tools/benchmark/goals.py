"""The bench's goals, and how far the results are from them."""

from __future__ import annotations

from collections import namedtuple

from tools.benchmark.sides import ratios, spread

NET, SIZE = "dilated-fcn2s-vgg16", [500, 500]

Goal = namedtuple("Goal", "what limit least bound", defaults=("",))
Goal.__doc__ = """A goal: the ratio `what` is at least `limit`, or, unless `least`, at most; `bound`
says what keeps it from being reached, whatever the machine."""

GOALS = {
    "forward": Goal("forward: BVLC Caffe's time / the engine's", 2.0, True),
    "step": Goal("training step: BVLC Caffe's time / the engine's", 1.8, True),
    "forward torch": Goal("forward: the PyTorch module's time / the engine's", 1.3, True),
    "step torch": Goal("training step: the PyTorch module's time / the engine's", 1.3, True),
    "ceiling": Goal("forward: the engine's time / (FLOP / rate of products)", 0.9, False),
    "training memory": Goal("training: the engine's peak memory / BVLC Caffe's", 0.25, False),
    "inference memory": Goal("inference: the engine's peak memory / BVLC Caffe's", 0.2, False),
    "small": Goal(
        "training step, 96x96: unfolded / folded",
        2.0,
        True,
        "From conv4_1 on no rows or columns repeat, so that folding leaves 33 of 55 GFLOP, a ratio "
        "of 1.7; fc6, fc7 and the update take as long either way.",
    ),
    "overhead": Goal(
        "small layers: the engine's time / BVLC Caffe's",
        2.0,
        False,
        "A small convolution and its gradients take PyTorch 50 µs or more, most of it before the "
        "first multiplication; BVLC Caffe takes 2 µs for a layer's pass.",
    ),
    "score": Goal("score.py: share of its time beside the forward passes", 0.03, False),
}


def of_rounds(result, above, below, name="seconds"):
    """The spread of one side's figures / another's, round by round; None where one lacks them."""
    sides = result["sides"]
    if not all(name in sides.get(side, {}) for side in (above, below)):
        return None
    return ratios(sides[above][name], sides[below][name])


def of_ceiling(result, side="engine"):
    """The spread of a side's time / (FLOP / rate of products), round by round."""
    sides = result["sides"]
    if not ("seconds" in sides.get(side, {}) and "rate" in sides.get("ceiling", {})):
        return None
    pairs = zip(sides[side]["seconds"], sides["ceiling"]["rate"])
    return spread([seconds * rate / result["flop"] for seconds, rate in pairs])


def of_peaks(result, above, below):
    """The spread, of one value, of one side's peak memory / another's."""
    peaks = [result["sides"].get(side, {}).get("peak") for side in (above, below)]
    return spread([peaks[0] / peaks[1]]) if all(peaks) else None


def beside_forward(side):
    """The shares of the time of score.py that are not the net's own forward passes, by round.

    Reading photographs counts among them, although the net's data layer does it.
    """
    rows = zip(side["seconds"], side["forwards"], side["reading"])
    return [1 - (forwards - reading) / seconds for seconds, forwards, reading in rows]


def find(results, measure, net=NET, size=SIZE):
    """The result of a measure on a net and size, or None."""
    for result in results:
        if (result["measure"], result["net"], result["size"]) == (measure, net, size):
            return result
    return None


def measured(results):
    """{name of a goal: the spread that was measured, or None}, as GOALS names and orders them."""
    passes = {name: find(results, name) for name in ("forward", "step")}
    spreads = dict.fromkeys(GOALS)
    for name, result in passes.items():
        if result is not None:
            spreads[name] = of_rounds(result, "bvlc", "engine")
            spreads[f"{name} torch"] = of_rounds(result, "torch", "engine")
    if passes["forward"] is not None:
        spreads["ceiling"] = of_ceiling(passes["forward"])
        spreads["inference memory"] = of_peaks(passes["forward"], "engine", "bvlc")
    if passes["step"] is not None:
        spreads["training memory"] = of_peaks(passes["step"], "engine", "bvlc")
    for result in results:
        if result["measure"] == "small":
            spreads["small"] = of_rounds(result, "unfolded", "engine")
        elif result["measure"] == "overhead":
            spreads["overhead"] = of_rounds(result, "engine", "bvlc")
        elif result["measure"] == "score" and "engine" in result["sides"]:
            spreads["score"] = spread(beside_forward(result["sides"]["engine"]))
    return spreads


def verdict(goal, values):
    """`reached`, `missed` or `not measured`; the median decides."""
    if values is None:
        return "not measured"
    median = values["median"]
    return "reached" if (median >= goal.limit if goal.least else median <= goal.limit) else "missed"
