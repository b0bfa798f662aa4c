"""`vnn-mondeq report`: results as tables and pictures, for a browser or as Markdown."""

import argparse
import sys
from pathlib import Path

from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.extras import require

FORMATS = (".html", ".md")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        metavar="RESULTS",
        nargs="+",
        help="folders of vnn-mondeq bench, .jsonl records of benchmarks/certify_table.py, or "
        "folders that hold some",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="REPORT", help="REPORT.html or REPORT.md"
    )
    parser.add_argument("--title", default="Verification results", help="of the report")


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq.errors import InputError

    path = Path(arguments.output)
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: a report ends in {' or '.join(FORMATS)}")
    require("matplotlib", "report", "report")
    if path.suffix == ".html":
        require("jinja2", "report", "report")
    from vnn_mondeq.report.compose import compose
    from vnn_mondeq.report.html import write_html
    from vnn_mondeq.report.markdown import write_markdown
    from vnn_mondeq.report.read import read_groups

    groups = read_groups([Path(result) for result in arguments.results])
    write = write_html if path.suffix == ".html" else write_markdown
    written = write(compose(groups, arguments.title), path)
    if not arguments.quiet:
        print(f"wrote {', '.join(map(str, written))}", file=sys.stderr)
    return exit_code.OK
