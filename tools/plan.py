"""What nets will take: parameters, arithmetic, memory, and, with a probe, time.

    python tools/plan.py voc/dilated-fcn2s-vgg16 voc/fcn8s-vgg16        side by side
    python tools/plan.py NET/solver.prototxt --size 500x500 --size 375x500 --memory 6GB
    python tools/plan.py voc/fcn8s-vgg16 --classes 150 --probe --json plan.json

NET is a prototxt, a folder with train, val, deploy and solver.prototxt, a solver's prototxt, or
TASK/NET of prototxt/nets. No picture and no weights are read: the engine's own passes are run
without numbers, and what they would take is counted, so that a small machine can plan for a large
one. --probe times the nets' convolutions for about 10 seconds a net; without it no times are
given, so that a plan is the same on every machine.
"""

from __future__ import annotations

import json

from tools import summary
from tools.common.arguments import Parser
from tools.common.cli import UserError, run
from tools.common.computing import engine_for
from tools.common.files import check_target, write
from tools.common.memory_sizes import bytes_of, program
from tools.common.written import json_of
from tools.planning import figures, nets, report

PLAN = json_of("a plan of plan.py", "net", "parameters", "memory")


def parser():
    p = Parser(prog="plan.py", description="Parameters, arithmetic, memory and time of nets.")
    p.add_argument("nets", nargs="+", metavar="NET", help="a prototxt, its folder, or TASK/NET")
    p.add_argument(
        "--size",
        type=summary.side_lengths,
        action="append",
        metavar="HxW",
        help="size of the pictures; may be repeated (default: the net's input's, or 500x500)",
    )
    p.add_argument("--classes", metavar="N", help="for N classes, where a net is the generators'")
    p.add_argument("--memory", metavar="SIZE", help="say what fits into SIZE, e.g. 6GB")
    p.add_argument(
        "--for",
        dest="device",
        choices=("cpu", "gpu"),
        default="cpu",
        help="where the nets are to run; no GPU needs to be at hand (default: cpu)",
    )
    p.add_argument("--probe", action="store_true", help="time this machine, 10 seconds a net")
    p.add_argument("--markdown", action="store_true", help="print Markdown tables")
    p.add_argument("--json", metavar="OUT", help="write the figures into OUT too")
    return p


def check(args):
    """Raise UserError for what is wrong with the call, before any work."""
    engine_for("plan.py")
    if args.probe and args.device == "gpu":
        raise UserError("--probe: times the CPU; leave it out with --for gpu")
    if args.json:
        check_target(args.json, PLAN)
    return (
        None if args.memory is None else bytes_of(args.memory),
        None if args.classes is None else figures.check(args.classes, "--classes"),
    )


def main(argv):
    args = parser().parse_args(argv)
    limit, classes = check(args)
    gpu = args.device == "gpu"
    beside = 0 if gpu else program()
    plans, fits = [], []
    found = [nets.find(name) for name in args.nets]
    if classes is not None:
        found = [nets.for_classes(one, classes) for one in found]
    for one in found:
        for size in args.size or [None]:
            made = figures.figures(one.name, one, size, classes, gpu, beside, args.probe)
            plans.append(made)
            if limit is not None:
                train, test, _ = nets.sized(one, size)
                made["fit"] = figures.fit(made, one.solver, limit, train, test)
                fits += ["", f"{report.title(made)}, {args.memory}:", *made["fit"]]
    print("\n".join([*report.lines(plans, args.markdown), *fits]))
    if args.json:
        write(args.json, json.dumps(plans, indent=1) + "\n", PLAN)
    return 0


if __name__ == "__main__":
    run(main)
