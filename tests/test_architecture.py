"""The rules of ARCHITECTURE.md, held by parsing every module; each has a planted violation."""

import ast
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "vnn_mondeq"

LEVELS: dict[str, int] = {
    # core, from the bottom
    "errors": 0,
    "rounding": 0,
    "progress": 0,
    "deadline": 1,
    "definite": 1,
    "whole_file": 1,
    "result": 2,
    "system": 3,
    "query": 3,
    "bench": 3,  # runs the verifier in processes; knows only the words of an answer
    "candidate": 4,
    "value_range": 4,
    "problem": 4,
    "sets": 4,
    # front ends and engines: rooms that do not see each other
    "onnx_io": 5,
    "vnnlib_io": 5,
    "attack": 5,
    "bounds": 5,
    "craft": 5,
    "sdp": 6,  # strengthens the boxes that bounds/ proves
    "search": 7,  # branches with the bounds of bounds/ and sdp/
    # above the rooms
    "layered_bounds": 4,
    "layered_error": 5,  # beside the rooms of engines, which do not see it
    "budget": 6,
    "statement": 7,
    "reach": 8,
    "pieces": 8,
    "networks": 9,
    "gate": 8,
    "zoom": 8,
    "few_points": 8,
    "portfolio": 9,
    "certificate_file": 9,
    "api": 10,
    "files": 11,
    "training": 6,
    "interop": 7,  # beside the verifier, like training/
    # what users do with answers: rooms that do not see each other
    "doctor": 11,
    "report": 11,
    "benchmark_maker": 11,
    "cli": 12,
    "__init__": 12,
    "__main__": 13,
}
"""Room or module → level. Imports point to lower levels only."""

ALLOWED_SIDEWAYS: set[tuple[str, str]] = {("craft", "sets")}
"""Pairs on one level that may see each other (none may be mutual)."""

ANNOTATION_ONLY: set[tuple[str, str]] = {("result", "problem")}
"""Imports under `if TYPE_CHECKING` that may point up: an abstract engine names its problem."""

TORCH_SIDE = ("vnn_mondeq.onnx_io.torch_export", "vnn_mondeq.onnx_io.onnx2torch_converter")
"""Modules that lie beside the other exporters but belong to the room `training`: they speak of
PyTorch layers, and nothing on the way to a verdict imports them."""

THIRD_PARTY: dict[str, set[str]] = {
    "onnx": {"onnx_io", "training"},
    "onnxruntime": {"onnx_io", "benchmark_maker"},  # the generator that stands alone
    "packaging": {"doctor"},
    "onnxscript": {"training"},
    "onnx2torch": {"training"},
    "torch": {"training", "interop", "doctor"},
    "sklearn": {"training"},
    "lark": {"vnnlib_io"},
    "cvxpy": {"sdp", "doctor"},
    "mosek": {"doctor"},
    "argparse": {"cli"},
    "rich": {"cli"},
    "matplotlib": {"cli", "report"},
    "jinja2": {"report"},
    "msgspec": {"bench"},
    "distributed": {"bench"},
}
"""Package → rooms that may import it."""


def modules() -> dict[str, str]:
    """Dotted name → source of every module of the package."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        if parts[-1] == "__init__" and len(parts) > 2:
            parts.pop()
        found[".".join(parts)] = path.read_text(encoding="utf-8")
    return found


@functools.cache
def parsed(source: str) -> ast.Module:
    """The tree of a source, which no rule changes."""
    return ast.parse(source)


def room_of(name: str) -> str:
    """`vnn_mondeq.cli.main` → `cli`; `vnn_mondeq` and `vnn_mondeq.__init__` → `__init__`."""
    if any(name == module or name.startswith(f"{module}.") for module in TORCH_SIDE):
        return "training"
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(name: str, source: str) -> list[tuple[str, bool]]:
    """Full dotted names of everything imported, wherever in the module, relative ones resolved;
    with each whether it stands under `if TYPE_CHECKING`."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, typing_only: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                visit(child, True)
            for child in node.orelse:
                visit(child, typing_only)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, typing_only) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = name.split(".")[: -node.level]
                base = ".".join([*parent, base] if base else parent)
            # `from package import x` may import the module `package.x`.
            found.extend((f"{base}.{alias.name}", typing_only) for alias in node.names)
        if isinstance(node, ast.Call) and _is_import_call(node):
            found.append((_literal_prefix(node), typing_only))
        for child in ast.iter_child_nodes(node):
            visit(child, typing_only)

    visit(parsed(source), False)
    return found


def _is_import_call(node: ast.Call) -> bool:
    called = (
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    )
    return called in {"import_module", "__import__"}


def _literal_prefix(node: ast.Call) -> str:
    """The literal start of what an import call names; empty where it is computed."""
    argument = node.args[0] if node.args else None
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    if isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant):
        return str(argument.values[0].value).rstrip(".")
    return ""


def upward_imports(name: str, source: str) -> list[str]:
    """Violations of the levels in one module."""
    own = room_of(name)
    if own not in LEVELS:
        return [f"{name}: room {own} has no level in {Path(__file__).name}"]
    wrong = []
    for target, typing_only in imports(name, source):
        if target.split(".")[0] != PACKAGE:
            continue
        other = room_of(target)
        if other not in LEVELS:
            other = "__init__"  # a name of the package itself, such as __version__
        if other == own or (own, other) in ALLOWED_SIDEWAYS:
            continue
        if typing_only and (own, other) in ANNOTATION_ONLY:
            continue
        if other == "__init__" and target in (PACKAGE, f"{PACKAGE}.__version__"):
            continue
        if LEVELS[other] >= LEVELS[own]:
            wrong.append(f"{name} imports {target}")
    return wrong


def foreign_imports(name: str, source: str) -> list[str]:
    """Third-party packages imported outside their rooms."""
    own = room_of(name)
    return [
        f"{name} imports {target}"
        for target, typing_only in imports(name, source)
        if not typing_only and own not in THIRD_PARTY.get(target.split(".")[0], {own})
    ]


def printing(name: str, source: str) -> list[str]:
    """Calls that print or end the process."""
    wrong = []
    for node in ast.walk(parsed(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in {
            "print",
            "exit",
            "quit",
            "sys.exit",
            "os._exit",
            "input",
        } or called.startswith(("sys.stdout", "sys.stderr")):
            wrong.append(f"{name} calls {called}")
    return wrong


def broad_handlers(name: str, source: str) -> list[str]:
    """`except:` and `except Exception:`."""
    return [
        f"{name}, line {node.lineno}"
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
    ]


def validating_asserts(name: str, source: str) -> list[str]:
    return [
        f"{name}, line {node.lineno}"
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.Assert)
    ]


def too_long(name: str, source: str) -> list[str]:
    """Modules over 400 lines and functions over 60."""
    wrong = [f"{name} has {len(source.splitlines())} lines"] if source.count("\n") > 400 else []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60:
            wrong.append(f"{name}.{node.name} has {node.end_lineno - node.lineno + 1} lines")
    return wrong


NOT_FOR_FINAL = ("ABC", "Protocol", "Error", "Exception")
"""Ends of the names of bases whose classes need no `@final`: abstract ones, and errors."""


def open_classes(name: str, source: str) -> list[str]:
    """Classes neither abstract nor final; an enumeration with members is final by itself."""
    wrong = []
    for node in ast.walk(parsed(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        bases = [ast.unparse(base) for base in node.bases]
        abstract = node.name.lstrip("_").startswith("Abstract")
        excused = any(base.endswith(NOT_FOR_FINAL) or "Enum" in base for base in bases)
        decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
        if not (abstract or excused or decorators & {"final", "typing.final"}):
            wrong.append(f"{name}.{node.name}")
    return wrong


def test_imports_point_down():
    assert [w for name, source in modules().items() for w in upward_imports(name, source)] == []


def test_the_page_names_every_room_and_module():
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    names = [name for name in LEVELS if not name.startswith("__")]
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []


def test_third_party_packages_stay_in_their_rooms():
    assert [w for name, source in modules().items() for w in foreign_imports(name, source)] == []


def test_only_the_command_line_prints_and_exits():
    speaking = {"cli", "__main__"}
    found = [
        w
        for n, source in modules().items()
        if room_of(n) not in speaking
        for w in printing(n, source)
    ]
    assert found == []


def test_errors_are_caught_by_name():
    found = [w for name, source in modules().items() for w in broad_handlers(name, source)]
    assert [w for w in found if not w.startswith(f"{PACKAGE}.cli.main,")] == []
    assert len(found) == 1, "the last line of defence in cli/main.py, and no other"


def test_asserts_are_not_used_for_validation():
    assert [w for n, source in modules().items() for w in validating_asserts(n, source)] == []


def test_modules_and_functions_stay_short():
    assert [w for name, source in modules().items() for w in too_long(name, source)] == []


def test_classes_are_abstract_or_final():
    assert [w for name, source in modules().items() for w in open_classes(name, source)] == []


PLANTED = {
    "an engine sees a front end": (
        upward_imports,
        "vnn_mondeq.craft.engine",
        "from vnn_mondeq.onnx_io import replay",
    ),
    "an engine sees another": (
        upward_imports,
        "vnn_mondeq.craft.engine",
        "import vnn_mondeq.attack.pgd",
    ),
    "front ends see each other": (
        upward_imports,
        "vnn_mondeq.onnx_io.importer",
        "from vnn_mondeq import vnnlib_io",
    ),
    "lazily": (
        upward_imports,
        "vnn_mondeq.system.solve",
        "def f():\n    from vnn_mondeq.gate import Gate",
    ),
    "relatively": (upward_imports, "vnn_mondeq.system.solve", "from ..gate import Gate"),
    "by call": (
        upward_imports,
        "vnn_mondeq.system.solve",
        "import importlib\nimportlib.import_module('vnn_mondeq.cli.main')",
    ),
    "for typing": (
        upward_imports,
        "vnn_mondeq.problem",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vnn_mondeq.gate import Gate",
    ),
    "through the package": (
        upward_imports,
        "vnn_mondeq.craft.engine",
        "from vnn_mondeq import verify",
    ),
    "a new room": (upward_imports, "vnn_mondeq.misc.helpers", "import math"),
    "torch on the main road": (
        foreign_imports,
        "vnn_mondeq.craft.engine",
        "def f():\n    import torch.nn",
    ),
    "onnx outside": (foreign_imports, "vnn_mondeq.api", "from onnx import helper"),
    "print": (printing, "vnn_mondeq.craft.engine", "print('hello')"),
    "exit": (printing, "vnn_mondeq.craft.engine", "import sys\nsys.exit(1)"),
    "stderr": (printing, "vnn_mondeq.craft.engine", "import sys\nsys.stderr.write('x')"),
    "bare except": (broad_handlers, "vnn_mondeq.gate", "try:\n    f()\nexcept:\n    pass"),
    "broad except": (
        broad_handlers,
        "vnn_mondeq.gate",
        "try:\n    f()\nexcept Exception:\n    pass",
    ),
    "assert": (validating_asserts, "vnn_mondeq.gate", "assert x > 0"),
    "open class": (open_classes, "vnn_mondeq.gate", "class A(AbstractB):\n    x = 1"),
    "long module": (too_long, "vnn_mondeq.gate", "x = 1\n" * 401),
    "long function": (too_long, "vnn_mondeq.gate", "def f():\n" + "    x = 1\n" * 61),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_violations_are_found(name):
    rule, module, source = PLANTED[name]
    assert rule(module, source) != []


def _modules_after(*argv: str) -> set[str]:
    """Top-level modules loaded after a run of the command line in a fresh interpreter."""
    script = (
        "import sys\n"
        "from vnn_mondeq.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('\\n'.join(sorted({m.split('.')[0] for m in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *argv],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("argv", [["--name"], ["--version"], ["supports", "--vnnlib-versions"]])
def test_start_up_loads_nothing_heavy(argv):
    heavy = {"numpy", "scipy", "onnx", "onnxruntime", "lark", "rich", "torch"}
    assert _modules_after(*argv) & heavy == set()


def test_the_start_up_check_sees_what_a_command_loads():
    """The check above could otherwise pass because it sees nothing."""
    assert "numpy" in _modules_after("export", "missing.npz", "missing.onnx")
