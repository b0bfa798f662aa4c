"""Running what a page shows: its fenced `sh` and `python` blocks, in order, in this process.

A module of the suite. In this process, so that torch and matplotlib are loaded once.
"""

import contextlib
import io
import re
import shlex
from pathlib import Path

from vnn_mondeq.cli.main import main

_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every block to be run."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def run_page(page: Path) -> dict[str, str]:
    """Run everything in the working directory; returns what each command wrote to stdout.

    A command may end in `> FILE`; anything else that a shell does is refused.
    """
    said: dict[str, str] = {}
    names: dict[str, object] = {}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, f"{page.name}", "exec"), names)
            continue
        for line in text.splitlines():
            said[line] = run_line(line)
    return said


def run_line(line: str) -> str:
    name, *words = shlex.split(line, comments=True)
    assert name == "vnn-mondeq", line
    file = None
    if ">" in words:
        *words, sign, file = words
        assert sign == ">", line
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        code = main(["-q", *words])
    assert code == 0, f"{line}: exit code {code}"
    if file is not None:
        Path(file).write_text(stdout.getvalue())
    return stdout.getvalue()
