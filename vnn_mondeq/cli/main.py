"""The entry point: global options, one table of commands, errors turned into exit codes.

Each command is a module with `configure(parser)` and `run(arguments) -> exit code`. These modules
import what is heavy inside `run`, so that `--name`, `--version` and `supports` answer at once.
"""

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from vnn_mondeq import __version__
from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.console import open_standard_streams
from vnn_mondeq.cli.process_start import process_start
from vnn_mondeq.cli.threads import set_thread_count
from vnn_mondeq.errors import OutputError, VnnMondeqError

NAME = "vnn-mondeq"

COMMANDS: dict[str, str] = {
    "verify": "decide a VNN-LIB query about an ONNX model",
    "check": "check a certificate against a query and its model; no search for a proof",
    "supports": "answer one question about what this tool supports",
    "inspect": "describe a model: layers, sizes, monotonicity, Lipschitz bound",
    "reach": "bound the outputs over an input set by a proved ellipsoid, and draw it",
    "lipschitz": "proved Lipschitz constants of a model, everywhere or over a query's inputs",
    "robustness": "write a local robustness query",
    "show": "draw a counterexample (extra 'plot')",
    "export": "turn weights, as arrays or as a checkpoint, into an ONNX model",
    "train": "train a monDEQ and export it (needs the extra 'train')",
    "report": "tables and pictures of results, as HTML or Markdown (extra 'report')",
    "make-benchmark": "write a VNN-COMP benchmark of robustness instances",
    "doctor": "look over this installation and verify two small instances with it",
    "bench": "run a list of instances, each in a process of its own, and record every run",
    "bench-compare": "compare two benchmarks: lost verdicts, and slowdowns above noise",
    "competition": "VNN-COMP: verify one instance and write its results file",
}
"""Command → one line of help. The module of command `a-b` is `vnn_mondeq.cli.a_b`."""

COMMAND_ALIASES: dict[str, str] = {"capabilities": "supports"}
"""The standard's introduction calls `supports` by another name."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("-v", "--verbose", action="count", help="more on stderr; -vv: tracebacks")
    common.add_argument("-q", "--quiet", action="store_true", help="only errors on stderr")
    common.add_argument(
        "--threads", type=_positive, metavar="N", help="threads of linear algebra (default: all)"
    )
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Sound verification of monotone-operator equilibrium networks.",
        parents=[common],
        allow_abbrev=False,
    )
    parser.add_argument("--name", action="version", version=NAME, help="print the tool's name")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command, summary in COMMANDS.items():
        aliases = [alias for alias, target in COMMAND_ALIASES.items() if target == command]
        subparser = commands.add_parser(
            command,
            aliases=aliases,
            parents=[common],
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            allow_abbrev=False,
        )
        _module(command).configure(subparser)
    return parser


def _module(command: str) -> ModuleType:
    return import_module(f"vnn_mondeq.cli.{command.replace('-', '_')}")


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return value


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit codes are in `vnn_mondeq.cli.exit_code`."""
    started = process_start()
    open_standard_streams()
    defaults = argparse.Namespace(verbose=0, quiet=False, threads=None, started=started)
    arguments = build_parser().parse_args(argv, namespace=defaults)
    set_thread_count(arguments.threads)
    command = COMMAND_ALIASES.get(arguments.command, arguments.command)
    return guarded(_module(command).run, arguments)


def guarded(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Call `run(arguments)` and turn what it raises into one line on stderr and an exit code."""
    try:
        code = run(arguments)
        sys.stdout.flush()
        return code
    except OutputError as error:
        return _fail(exit_code.CANNOT_WRITE, error)
    except VnnMondeqError as error:
        return _fail(exit_code.BAD_INPUT, error)
    except BrokenPipeError:
        # Whoever read the answer has had enough of it; nothing is left to say.
        _discard_stdout()
        return exit_code.CANNOT_WRITE
    except OSError as error:
        # Files that cannot be read are InputErrors by now; what is left is output.
        _discard_stdout()
        return _fail(
            exit_code.CANNOT_WRITE, f"the output cannot be written: {error.strerror or error}"
        )
    except KeyboardInterrupt:
        return _fail(exit_code.INTERRUPTED, "interrupted")
    except Exception as error:  # the last line of defence; nothing is swallowed
        if arguments.verbose >= 2:
            raise
        return _fail(
            exit_code.INTERNAL,
            f"internal error: {type(error).__name__}: {error}\n"
            "This is a defect. Please report it with the command, the files, and the output of "
            "the same command with -vv.",
        )


def _discard_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes stdout at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _fail(code: int, message: object) -> int:
    print(f"{NAME}: error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
