"""docs/your-network.md, from its first block to its last, does what it says."""

import re
from pathlib import Path

import pytest
from documents import run_page

for module in ("torch", "onnxscript"):
    pytest.importorskip(module, reason="the page is about PyTorch networks")

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "your-network.md"


def test_the_page(tmp_path, monkeypatch):
    from vnn_mondeq import load_model

    monkeypatch.chdir(tmp_path)
    said = run_page(PAGE)
    inspected = next(text for line, text in said.items() if " inspect " in line)
    assert "equilibrium layer: " in inspected and "proved, modulus" in inspected
    (verdict,) = [text for line, text in said.items() if " verify " in line]
    assert verdict == "unsat\n"
    sizes = {"mine": 52, "net": 12, "step": 12, "arrays": 6}
    assert {name: load_model(f"{name}.onnx").system.neurons for name in sizes} == sizes


def test_every_layout_is_in_its_table():
    from vnn_mondeq.cli.export import LAYOUTS

    assert set(re.findall(r"^\| `(\w[\w-]+)` \|", PAGE.read_text(), re.MULTILINE)) == set(LAYOUTS)


def test_the_messages_it_explains_are_those_of_the_program():
    said = "".join(path.read_text() for path in (ROOT / "vnn_mondeq").rglob("*.py"))
    table = PAGE.read_text().split("## When it is refused")[1]
    explained = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(explained) == 4
    for message in explained:
        assert message in said
