"""Every command that any page shows is one that there is, and every concrete one does its work.

Pages that are stories of their own (README, tutorial, bench, report, your-network, …) are run by
tests of their own. Here: all lines that begin with `vnn-mondeq` or `python`, in any page.

- A *synopsis* (`[--option]`, `a|b`, `…`) must name options that the command has.
- A *concrete* line must be accepted by the parser; those of `RUN` are run as well.
"""

import argparse
import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from documents import run_line

from vnn_mondeq.cli.main import COMMAND_ALIASES, COMMANDS, build_parser
from vnn_mondeq.onnx_io.norm_network import export_norm_network
from vnn_mondeq.onnx_io.save import save

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "specs", ROOT / "onnx_models", ROOT / "benchmarks")
    for path in folder.glob("*.md")
)

RUN = ("certificates.md", "lipschitz.md", "vnnlib.md", "operator.md")
"""Pages whose concrete commands are run here, one page after the other in one folder."""


def command_lines(page: Path) -> list[str]:
    """Lines of code, continued ones joined, that call the program or a script."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    # A synopsis continues on lines that begin with an option far to the right.
    text = re.sub(r"\n {12,}(?=[\[\-<])", " ", text)
    lines = re.findall(
        r"^(?: {4}|)((?:[A-Z_]+=\S+ )*(?:vnn-mondeq|python) [^\n]+)$", text, re.MULTILINE
    )
    return [re.sub(r"\s+#.*", "", line).strip() for line in lines]


def is_synopsis(line: str) -> bool:
    return re.search(r"\[|…|\w\|\w|[A-Z]\|", line) is not None


def commands(kind: str) -> list[tuple[str, str]]:
    """(page, line) of every concrete line or synopsis of the program."""
    found = [
        (page.name, line)
        for page in PAGES
        for line in command_lines(page)
        if line.startswith("vnn-mondeq ") and is_synopsis(line) == (kind == "synopsis")
    ]
    assert found, "the pages are not read as they are written"
    return found


def subparser(command: str) -> argparse.ArgumentParser:
    (actions,) = [a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return actions.choices[command]


def options_of(command: str) -> set[str]:
    return {name for action in subparser(command)._actions for name in action.option_strings}


@pytest.mark.parametrize(("page", "line"), commands("synopsis"))
def test_a_synopsis_names_what_there_is(page, line):
    command = line.split()[1]
    if command in ("--name", "--version"):
        return
    assert command in (*COMMANDS, *COMMAND_ALIASES)
    named = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", line))
    assert named <= options_of(command)


def test_usage_names_every_option_of_every_command():
    """Options are described where the command is, or on the page that it refers to."""
    usage = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    common = {"-h", "--help", "-v", "--verbose", "-q", "--quiet", "--threads"}
    missing = []
    for command in COMMANDS:
        sections = re.findall(rf"(?:^|\n)## [^\n]*\b{command}\b.*?(?=\n## |\Z)", usage, re.DOTALL)
        text = "".join(sections) or usage
        for target in re.findall(r"\]\(([\w-]+\.md)", text):
            text += (ROOT / "docs" / target).read_text(encoding="utf-8")
        for action in subparser(command)._actions:
            names = [name for name in action.option_strings if name not in common]
            hidden = action.help is argparse.SUPPRESS
            if names and not hidden and not any(name in text for name in names):
                missing.append(f"{command} {names[0]}")
    assert missing == []


@pytest.mark.parametrize(("page", "line"), commands("concrete"))
def test_a_concrete_line_is_accepted(page, line):
    words = shlex.split(line.split(" > ")[0])[1:]
    with contextlib.redirect_stderr(io.StringIO()) as message:
        try:
            build_parser().parse_args(words)
        except SystemExit as stopped:
            assert stopped.code == 0, message.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Files by the names that the pages use."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(7)
    shapes = {"A": (5, 5), "B": (5, 5), "U": (5, 4), "u": (5,), "C": (3, 5), "c": (3,)}
    arrays = {name: 0.5 * rng.normal(size=shape) for name, shape in shapes.items()}
    np.savez("weights.npz", m=np.array(1.0), **arrays)
    x = np.full((1, 4), 0.5, dtype=np.float32)
    np.save("x.npy", x)
    run_line("vnn-mondeq export weights.npz model.onnx")
    shutil.copy("model.onnx", "MODEL.onnx")
    run_line("vnn-mondeq robustness model.onnx --input x.npy --eps 0.01 -o query.vnnlib")
    shutil.copy("query.vnnlib", "Q.vnnlib")
    save(export_norm_network(1, x, (1, 4), dtype=np.float32), "l1.onnx")
    return tmp_path


@pytest.mark.parametrize("page", RUN)
def test_the_concrete_lines_of_a_page_run(page, folder):
    lines = [line for name, line in commands("concrete") if name == page]
    assert lines
    if page == "vnnlib.md":  # this one is about a query with a norm network
        run_line(
            "vnn-mondeq robustness model.onnx --input x.npy --norm 1 --eps 0.01 "
            "--norm-network l1.onnx -o query.vnnlib"
        )
    for line in lines:
        run_line(line)


def script_lines() -> dict[str, list[str]]:
    """Script → the lines that call it. A page of `make-benchmark` names one that it writes."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for line in command_lines(page):
            script = re.search(r"\bpython (\S+\.py)", line)
            if script is not None and script[1] != "generate_properties.py":
                found.setdefault(script[1], []).append(line)
    return found


@pytest.mark.parametrize("script", sorted(script_lines()))
def test_a_script_is_there_and_knows_its_options(script):
    shown = subprocess.run(
        [sys.executable, ROOT / script, "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=True,
    ).stdout
    for option in re.findall(r" (--[a-z-]+)", " ".join(script_lines()[script])):
        assert option in shown
