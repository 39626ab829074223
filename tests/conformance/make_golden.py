"""Write BVLC Caffe's answers to a few hundred small cases into tests/golden, or another folder.

    tools/bvlc-caffe install
    .venv/bin/python -m tests.conformance.make_golden [FOLDER]

tests/engine/test_golden.py compares the engine with them where BVLC Caffe is not installed. Random
nets of one layer, drawn with a fixed seed from the strategies of cases*.py (layers/TYPE.npz), and
short trainings under every lr policy (solvers/TYPE.npz). A file holds `cases`, the scenario's
arguments as JSON in bytes, with the `bottoms` that case_tools.inputs makes the inputs of, and the
arrays of case N as "N name".
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.conformance import both, case_tools
from tests.conformance.bvlc import test_bvlc_row_layers, test_bvlc_training
from tests.conformance.nets import CLASSIFIER

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SEED = 2017
DRAWN = 120
"""Cases drawn for each layer type; some that are small enough and differ are kept."""
CASES = 8
LARGEST = 600
"""Numbers in a case's inputs, and in its answer: the files stay small."""
ROWS = {"BatchReindex", "Embed", "Filter"}
"""Compared with a net around them that asks for their gradients."""
STEPS = 21
"""All steps of the lr policies but the last lie within."""

# Without a kink: whether a ReLU or a max pooling window picks one number or another may hang on
# rounding, which differs between processors.
SMOOTH = CLASSIFIER.replace('"ReLU"', '"TanH"').replace(
    "kernel_size: 2", "kernel_size: 2 pool: AVE"
)


def drawn(strategy):
    """Cases of a strategy, the same each time."""
    found = []

    @seed(SEED)
    @settings(
        max_examples=DRAWN,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(strategy)
    def note(one):
        found.append(one)

    note()
    return found


def in_order(cases):
    """The cases that need no other file: the last drawn first, since the first are the simplest,
    and before all others those whose layer is written as no other's is."""
    seen = set()
    groups = [], []
    for one in reversed(cases):
        if "source:" not in one["layer"]:
            groups[one["layer"] in seen].append(one)
            seen.add(one["layer"])
    return groups[0] + groups[1]


def arguments(layer_type, one):
    """What one_net is given for a case."""
    args = case_tools.arguments(layer_type, one)
    if layer_type in ROWS:
        args["prototxt"] = test_bvlc_row_layers.learnable_net(one, layer_type)
        args["backward"] = True
    return dict(args, bottoms=one["bottoms"])


def numbers(arrays):
    return sum(value.size for value in arrays.values())


def answer(scenario, args, inputs=None):
    """The arrays of BVLC Caffe's results, but for inputs left as they were; None if refused."""
    try:
        results = both.run("bvlc", scenario, args, inputs)
    except both.ScenarioFailed as failure:
        if failure.refused:
            return None
        raise
    given = {f"data {name}": value for name, value in (inputs or {}).items()}
    return {
        name: value
        for name, value in results.items()
        if isinstance(value, np.ndarray)
        and not (name in given and np.array_equal(value, given[name]))
    }


def chooses_no_row(layer_type, inputs):
    """BVLC Caffe's gradient is then a division by zero."""
    return layer_type == "Filter" and not np.any(list(inputs.values())[-1])


def of_layer(layer_type):
    """Up to CASES pairs of arguments and answer."""
    pairs = []
    for one in in_order(drawn(case_tools.STRATEGIES[layer_type])):
        inputs = case_tools.inputs(one)
        if numbers(inputs) > LARGEST or chooses_no_row(layer_type, inputs):
            continue
        args = arguments(layer_type, one)
        arrays = answer("one_net", args, inputs)
        if arrays is not None and numbers(arrays) <= LARGEST:
            pairs.append((args, arrays))
        if len(pairs) == CASES:
            break
    return pairs


def of_solver(kind):
    """What a short training under each lr policy ends with."""
    pairs = []
    for policy in test_bvlc_training.POLICIES.values():
        lines = test_bvlc_training.of(kind, *policy)
        args = {"prototxt": SMOOTH, "solver": lines, "steps": STEPS, "seed": 0}
        arrays = answer("training", args)
        pairs.append((args, {k: v for k, v in arrays.items() if k.startswith("param ")}))
    return pairs


def write(path, pairs):
    """Write a file, the same bytes for the same pairs; the number of its cases and its bytes."""
    text = json.dumps([args for args, _ in pairs]).encode()
    members = {"cases": np.frombuffer(text, np.uint8)}
    for i, (_, arrays) in enumerate(pairs):
        members.update({f"{i} {name}": value for name, value in arrays.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in members.items():
            stream = io.BytesIO()
            np.save(stream, value)
            # np.savez would leave the time in it, or not, by the version of Python.
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(info, stream.getvalue(), zipfile.ZIP_DEFLATED, 9)
    print(f"{path}: {len(pairs)} cases, {path.stat().st_size} bytes", flush=True)
    return np.array([len(pairs), path.stat().st_size])


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    made = [
        write(folder / "layers" / f"{name}.npz", of_layer(name))
        for name in sorted(case_tools.load_strategies())
    ]
    made += [
        write(folder / "solvers" / f"{kind}.npz", of_solver(kind))
        for kind in test_bvlc_training.SOLVERS
    ]
    both.close_workers()
    print("{} cases, {} bytes".format(*sum(made)))


if __name__ == "__main__":
    main()
