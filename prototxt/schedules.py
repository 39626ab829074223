"""How a TOML's [training] says that weights are changed: solver, rates and fillers.

Each function takes the file's table, which checks what it gives and raises InputError.
"""

from __future__ import annotations

from prototxt.tasks import Schedule

LR_POLICIES = {
    # policy: the parameters it needs (SolverParameter fields)
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power",),
    "sigmoid": ("gamma", "stepsize"),
}

SOLVERS: dict[str, dict[str, float | None]] = {
    # type: the parameters it takes besides (SolverParameter fields), with their defaults
    "SGD": {"momentum": Schedule.momentum},
    "Nesterov": {"momentum": Schedule.momentum},
    "AdaGrad": {"delta": 1e-8},
    "RMSProp": {"delta": 1e-8, "rms_decay": 0.99},
    "AdaDelta": {"momentum": 0.95, "delta": 1e-6},
    "Adam": {"momentum": 0.9, "momentum2": 0.999, "delta": 1e-8},
}

FILLERS = {
    # filler: the parameters it needs (FillerParameter fields)
    "constant": ("value",),
    "gaussian": ("std",),
    "msra": (),
    "uniform": ("min", "max"),
    "xavier": (),
}


OWN_PARAMETERS = ("momentum", "momentum2", "delta", "rms_decay")
"""Solver fields that only some types have."""


def schedule(table):
    """The Schedule of a [training] table."""
    policy = table.get("lr_policy", Schedule.lr_policy)
    needed = table.choice("lr_policy", policy, LR_POLICIES)
    table.at_least("stepsize", 1)
    steps = table.numbers("stepvalue", ())
    if any(not isinstance(step, int) for step in steps) or list(steps) != sorted(set(steps)):
        table.fail("stepvalue", "must be whole numbers, each larger than the one before it")
    parameters = tuple((k, steps if k == "stepvalue" else table.get(k)) for k in needed)
    table.need("base_lr", "the learning rate, such as 1e-10 for a summed loss")
    table.need("iterations", "how long to train")
    limits = dict(base_lr=0, iterations=1, weight_decay=0, iter_size=1, display=0,
                  average_loss=1, snapshot=0, clip_gradients=0, random_seed=0)  # fmt: skip
    given = {k: table.at_least(k, least) for k, least in limits.items() if k in table.values}
    return Schedule(lr_policy=policy, policy=parameters, **solver(table), **given)


def solver(table):
    """The Schedule's `type` and the parameters of its own; None for those that it does not have."""
    kind = table.get("type", Schedule.type)
    if kind not in SOLVERS:
        table.fail("type", f"unknown {kind!r}; known: {', '.join(SOLVERS)}")
    for key in OWN_PARAMETERS:
        if key in table.values and key not in SOLVERS[kind]:
            table.fail(key, f"{kind!r} does not use it")
        if key != "delta":
            table.below_one(key)
    table.at_least("delta", 0)
    values = {**SOLVERS[kind], **table.values}
    return {"type": kind, **{key: values.get(key) for key in OWN_PARAMETERS}}


def filler(table):
    """The fields of a FillerParameter as pairs; () for an empty table."""
    if not table.values:
        return ()
    kind = table.need("type", f"one of {', '.join(FILLERS)}")
    return (("type", kind), *((k, table.get(k)) for k in table.choice("type", kind, FILLERS)))
