"""docs/tutorial.md, from its first command to its last, does what it says."""

import re
from pathlib import Path

import pytest
from documents import run_page

for module in ("torch", "sklearn", "onnxscript", "matplotlib", "jinja2"):
    pytest.importorskip(module)

ROOT = Path(__file__).resolve().parents[2]


def test_the_tutorial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = run_page(ROOT / "docs" / "tutorial.md")
    found = {re.match(r"vnn-mondeq (\S+(?: \S+\.vnnlib)?)", line)[1]: t for line, t in said.items()}
    accuracy = float(re.search(r"accuracy: (\S+)", found["train"])[1])
    assert 0.9 < accuracy <= 1.0
    assert "strong monotonicity of I - W: proved" in found["inspect"]
    assert found["verify near.vnnlib"] == "unsat\n"
    assert found["check near.vnnlib"] == "unsat\n"
    assert found["verify far.vnnlib"].startswith("sat\n")
    shown = found["show"].splitlines()
    assert shown[0] == "input: output 3 is largest"
    assert shown[1] != "counterexample: output 3 is largest"
    assert shown[2].startswith("confirmed by onnxruntime")
    assert "output 3: always the largest" in found["reach"]
    for name in ("counterexample.png", "reach.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "4 runs, 1 model, 1 group:" in page
    assert "Wrong verdicts" not in page
