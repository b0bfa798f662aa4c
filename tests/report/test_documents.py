"""The commands of docs/report.md do what it says, and its picture is of the committed records."""

import re
import shlex
from pathlib import Path

import pytest

from vnn_mondeq.cli.main import main
from vnn_mondeq.report.plots import gap_picture
from vnn_mondeq.report.read import read_groups

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page(tmp_path, monkeypatch):
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines():
        name, *arguments = shlex.split(line)
        assert name == "vnn-mondeq"
        assert main(["-q", *arguments]) == 0
    made = {path.name for path in tmp_path.iterdir()} - {"benchmarks"}
    pictures = {f"report.{name}.svg" for name in ("gap", "cactus", "margins")}
    assert made == {"report.html", "report.md", *pictures}


def test_the_picture_of_the_page_is_of_the_committed_records():
    """Its numbers are in it as the lengths of bars; another version of matplotlib may place other
    things elsewhere, so the widths of the bars are compared."""
    drawn = gap_picture(read_groups([ROOT / "benchmarks" / "records"])).svg.decode()
    kept = (ROOT / "docs" / "images" / "gap.svg").read_text(encoding="utf-8")
    assert bars(kept) == bars(drawn)
    assert len(bars(kept)) > 30


def bars(svg: str) -> list[str]:
    """Of every filled rectangle: its width over that of the widest, and its colour."""
    found = re.findall(
        r'd="M (\S+) \S+ \nL (\S+) \S+ \nL \S+ \S+ \nL [^"]*z\n" [^>]*fill: (#\w+)', svg
    )
    widths = [(float(b) - float(a), colour) for a, b, colour in found if colour != "#ffffff"]
    longest = max(width for width, _ in widths)
    return [f"{width / longest:.3f} {colour}" for width, colour in widths]
