"""The commands of README.md do what it says."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODEL = ROOT / "onnx_models" / "digits_fc16.onnx"


def block(language: str) -> str:
    """All code blocks of that language, one after the other."""
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, f"README.md has no block of {language}"
    return "".join(found)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as a reader has it: the models, an input, and the command on the path."""
    if not MODEL.exists():
        pytest.skip(f"{MODEL.relative_to(ROOT)} is not in this checkout")
    folder = tmp_path_factory.mktemp("readme")
    (folder / "onnx_models").symlink_to(MODEL.parent)
    (folder / "specs").symlink_to(ROOT / "specs")
    np.save(folder / "x.npy", np.full(64, 0.5, dtype=np.float32))
    command = folder / "bin" / "vnn-mondeq"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vnn_mondeq "$@"\n')
    command.chmod(0o755)
    return folder


def run(arguments, place) -> subprocess.CompletedProcess:
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    arguments = [str(place / "bin" / a) if a == "vnn-mondeq" else a for a in arguments]
    done = subprocess.run(
        arguments, cwd=place, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_shell_commands_and_then_the_python_call(place):
    first, *lines = block("sh").splitlines()
    assert run(["bash", "-c", first], place).stdout.startswith("sat\n"), "and it has a picture"
    for line in lines:
        last = run(["bash", "-c", line], place)
    verdict = last.stdout.splitlines()[0]
    assert verdict in ("sat", "unsat")
    answer = run([sys.executable, "-c", block("python")], place).stdout
    assert answer.split() == [verdict]


DIGITS_SECONDS = 3.0
"""Of the processor, from process start: the issue's limit for a digits instance. On a busy machine
the clock on the wall tells of the neighbours."""


def test_a_digits_instance_is_quick(place):
    query = sorted((ROOT / "specs" / "digits_fc16" / "2.0" / "vnnlib").glob("*_linf_*.vnnlib"))[0]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(["vnn-mondeq", "verify", str(query), "--network", f"f={MODEL}"], place)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < DIGITS_SECONDS


def test_documented_commands_and_exit_codes_exist():
    from vnn_mondeq.cli import exit_code
    from vnn_mondeq.cli.main import COMMANDS

    usage = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"vnn-mondeq {command}" in usage or f"## {command}" in usage
    documented = {int(n) for n in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    codes = {v for n, v in vars(exit_code).items() if n.isupper()}
    assert documented == codes


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_makefile_s_demo_has_what_it_verifies():
    """`make demo` itself creates an environment; CI does that through `make test`."""
    shown = subprocess.run(
        ["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (line,) = [line for line in shown.splitlines() if " verify " in line]
    query, model = re.search(r"verify (\S+) --network f=(\S+)", line).groups()
    assert (ROOT / model).exists()
    assert (ROOT / query).exists()
