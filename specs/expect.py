"""Fill in `expected.csv` of each category with what the verifier proves.

    python specs/expect.py [--only CATEGORY] [--timeout SECONDS]

`open` instances of the 2.0 folder are verified; `unsat` and `sat` replace `open`, and nothing else
changes. A verdict that contradicts the file is an error: one of the two is wrong.
"""

import argparse
import ast
import csv
from pathlib import Path

from generate import ROOT, write_csv

from vnn_mondeq import api
from vnn_mondeq.result import Verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only")
    parser.add_argument("--timeout", type=float, default=60.0)
    arguments = parser.parse_args()
    for path in sorted(ROOT.glob("*/expected.csv")):
        if arguments.only in (None, path.parent.name):
            fill_in(path, arguments.timeout)


def fill_in(path: Path, timeout: float) -> None:
    header, *rows = csv.reader(path.read_text().splitlines())
    models = read_instances(path.parent / "2.0")
    filled = []
    for name, verdict, margin in rows:
        folder, column, query = models[name]
        if verdict == "open":
            verdict = verify(folder, column, query, timeout).value
            verdict = verdict if verdict in ("sat", "unsat") else "open"
            if verdict == "unsat" and float(margin) < 0.0:
                raise SystemExit(f"{name}: proved, yet the attack's margin is {margin}")
            print(f"{path.parent.name} {name}: {verdict}", flush=True)
        filled.append((name, verdict, margin))
    write_csv(path, [tuple(header), *filled])


def read_instances(folder: Path) -> dict[str, tuple[Path, str, str]]:
    """Query name → folder, model column, query path."""
    rows = csv.reader((folder / "instances.csv").read_text().splitlines())
    return {
        Path(query).name.split(".vnnlib")[0]: (folder, column, query) for column, query, _ in rows
    }


def verify(folder: Path, column: str, query: str, timeout: float) -> Verdict:
    files = dict(ast.literal_eval(column)) if column.startswith("[") else {"f": column}
    loaded = api.load_query(folder / query)
    paths = {name: folder / file for name, file in files.items()}
    return api.verify(api.load_networks(loaded, paths), loaded, timeout=timeout).verdict


if __name__ == "__main__":
    main()
