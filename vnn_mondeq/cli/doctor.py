"""`vnn-mondeq doctor`: does this installation work? For users and for reports of defects."""

import argparse

from vnn_mondeq import __version__
from vnn_mondeq.cli import exit_code


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-self-test", action="store_true", help="only look; verify nothing (quicker)"
    )


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq.doctor import machine, packages, solvers
    from vnn_mondeq.doctor.finding import State
    from vnn_mondeq.doctor.selftest import self_test

    looks = [
        machine.interpreter,
        machine.temporary_folder,
        machine.threads,
        packages.required_packages,
        machine.linear_algebra,
        packages.optional_packages,
        solvers.cvxpy_solvers,
        solvers.mosek_licence,
        solvers.torch_device,
        # After everything is loaded: a library may have changed the arithmetic.
        machine.arithmetic,
    ]
    if not arguments.no_self_test:
        looks.append(self_test)
    print(f"vnn-mondeq {__version__}")
    wrong = 0
    for look in looks:
        for finding in look():
            print(f"{finding.state.value:6}  {finding.subject:15}  {finding.detail}", flush=True)
            wrong += finding.state is State.WRONG
    print(f"{wrong} found wrong" if wrong else "everything that is needed works")
    return exit_code.REFUSED if wrong else exit_code.OK
