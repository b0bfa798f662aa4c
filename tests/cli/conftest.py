"""The command line as a process, a small model, and queries about it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_weights import dense_weights

ROOT = Path(__file__).resolve().parents[2]

INPUTS, CLASSES = 4, 3

Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def cli() -> Run:
    """Runs `python -m vnn_mondeq ARGUMENTS...` in a folder of its own choice."""

    def run(*arguments: object, **options) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-m", "vnn_mondeq", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            stdin=subprocess.DEVNULL,
            **options,
        )

    return run


@pytest.fixture(scope="session")
def weights() -> dict[str, np.ndarray]:
    """Arrays of a fully connected monDEQ with 5 neurons, in the layout of `export`."""
    return dense_weights(np.random.default_rng(7), 5, INPUTS, CLASSES)


@pytest.fixture(scope="session")
def folder(tmp_path_factory, cli, weights) -> Path:
    """A folder with `model.onnx`, `x.npy`, and robustness queries `safe*.vnnlib` (unsat) and
    `unsafe*.vnnlib` (sat) in both formats."""
    place = tmp_path_factory.mktemp("cli")
    np.savez(place / "weights.npz", **weights)
    np.save(place / "x.npy", np.array([0.5, 0.25, 0.75, 0.5], dtype=np.float32))
    assert cli("-q", "export", "weights.npz", "model.onnx", cwd=place).returncode == 0
    for name, eps in (("safe", "0.0001"), ("unsafe", "100")):
        for version in ("1.0", "2.0"):
            made = cli(
                *("-q", "robustness", "model.onnx", "--input", "x.npy", "--eps", eps),
                *("--format", version, "-o", f"{name}{version}.vnnlib"),
                cwd=place,
            )
            assert made.returncode == 0, made.stderr
    return place
