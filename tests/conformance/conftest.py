"""The command as one executable, which is how suites and harnesses want it."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def executable(tmp_path_factory) -> Path:
    """`vnn-mondeq` as a file that takes no arguments of its own."""
    path = tmp_path_factory.mktemp("bin") / "vnn-mondeq"
    path.write_text(
        "#!/bin/sh\n"
        f'export PYTHONPATH="{ROOT}"${{PYTHONPATH:+:$PYTHONPATH}}\n'
        f'exec "{sys.executable}" -m vnn_mondeq "$@"\n'
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def on_path(executable, monkeypatch) -> Path:
    """The executable, found by its name."""
    monkeypatch.setenv("PATH", f"{executable.parent}:{os.environ['PATH']}")
    return executable
