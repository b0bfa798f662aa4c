"""The API reference: docs/reference.py builds pages, and every docstring renders as it is meant."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pdoc")

from pdoc.render_helpers import to_html

ROOT = Path(__file__).resolve().parent.parent

BUILD = """
import sys
from pathlib import Path
sys.path.insert(0, "docs")
import reference
print(reference.build(Path(sys.argv[1]), only=("vnn_mondeq", "vnn_mondeq.api", "vnn_mondeq.gate")))
"""


def test_pages_are_built(tmp_path):
    """Three of all modules, in a process of its own: building makes lazy names permanent."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "(3, [])\n"), done.stderr
    page = (tmp_path / "vnn_mondeq.html").read_text(encoding="utf-8")
    for name in ("verify", "load_model", "Result", "Verdict", "VnnMondeqError"):
        assert f'id="{name}"' in page
    assert "<strong>Returns</strong>" in page
    assert 'href="vnn_mondeq/gate.html"' in page
    assert (tmp_path / "index.html").exists()


def docstrings():
    for path in sorted((ROOT / "vnn_mondeq").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{path.relative_to(ROOT)}: {getattr(node, 'name', 'module')}", text


def rendered_badly(text: str) -> bool:
    """Whether marks of Markdown are left in what a reader sees outside of code."""
    shown = re.sub(r"<pre>.*?</pre>|<code>.*?</code>", "", to_html(text), flags=re.DOTALL)
    # `2**13` is a power, in words as well.
    return re.search(r"(?<!\w)\*\*|\*\*(?!\w)|`|^(<p>)?- ", shown, re.MULTILINE) is not None


def test_every_docstring_renders():
    assert [place for place, text in docstrings() if rendered_badly(text)] == []


@pytest.mark.parametrize("text", ["**Arguments: bold", "a `b", "a\n\n   - b\n- c ``` d"])
def test_what_does_not_render_is_seen(text):
    assert rendered_badly(text)
