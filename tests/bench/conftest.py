"""A manifest as a value, a small list of instances, and a table to read results with."""

from pathlib import Path

import pytest

from vnn_mondeq.bench.manifest import Machine, Manifest, Settings, Software

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "onnx_models" / "digits_fc16.onnx"
QUERIES = ROOT / "specs" / "digits_fc16" / "1.0" / "vnnlib"


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        software=Software("0.1.0", "abc", False, "22", "3.11", {"numpy": "2"}),
        machine=Machine("Linux", "a processor", 2, 10**9),
        settings=Settings(),
        instances="instances.csv",
        instances_sha256="33",
        runs=3,
        created="2026-01-01T00:00:00+00:00",
    )


@pytest.fixture
def digits(tmp_path) -> Path:
    """An instance list with one `unsat` and one `sat` instance of a second each."""
    if not MODEL.exists():
        pytest.skip(f"{MODEL.relative_to(ROOT)} is not in this checkout")
    rows = [
        f"{MODEL},{QUERIES / name},30,{verdict}"
        for name, verdict in (
            ("image26_linf_0.02.vnnlib", "unsat"),
            ("image30_linf_0.15.vnnlib", "sat"),
        )
    ]
    path = tmp_path / "digits.csv"
    path.write_text("\n".join(rows) + "\n")
    return path
