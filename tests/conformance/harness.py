"""A VNN-COMP harness: runs the scripts over a benchmark folder and keeps what a scorer reads.

After the published behaviour of the 2026 scripts: instances.csv without a header, files perhaps
compressed and named without `.gz`, the results file a relative path that is filled beforehand, the
limit enforced with `timeout`, and the first line of the file the verdict.
"""

import csv
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One line of a results.csv, and the text that follows the verdict."""

    networks: str
    query: Path
    verdict: str
    counterexample: str


@final
@dataclass(frozen=True, slots=True)
class Harness:
    """`tool`: folder with the scripts. `workplace`: where the results file goes, by its name."""

    tool: Path
    workplace: Path
    environment: dict[str, str]

    def category(self, folder: Path) -> list[Row]:
        """All instances of a folder `benchmarks/CATEGORY/1.0` or `…/2.0`."""
        with (folder / "instances.csv").open(newline="") as lines:
            return [
                self.instance(
                    folder.parent.name, _prefixed(networks, folder), folder / query, limit
                )
                for networks, query, limit in csv.reader(lines)
            ]

    def instance(self, category: str, networks: str, query: Path, limit: str) -> Row:
        query = _present(query)
        prepared = self.script("prepare_instance.sh", category, networks, str(query))
        verdict, counterexample = f"prepare_instance_error_{prepared.returncode}", ""
        if prepared.returncode == 0:
            verdict, counterexample = self._run(category, networks, query, limit)
        return Row(networks, query, verdict, counterexample)

    def _run(self, category: str, networks: str, query: Path, limit: str) -> tuple[str, str]:
        results = self.workplace / "out.txt"
        results.write_text("no_result_in_file\n")
        done = self.script(
            *("run_instance.sh", category, networks, str(query), "out.txt", limit),
            limit=f"{float(limit):g}",
        )
        if done.returncode == 124:
            return "run_instance_timeout", ""
        if done.returncode != 0:
            return f"error_exit_code_{done.returncode}", ""
        text = results.read_text().replace("sat (", "sat\n(")
        first, _, rest = text.partition("\n")
        return first.strip(), rest

    def script(self, name: str, *arguments: str, limit: str = "60") -> subprocess.CompletedProcess:
        command = ["timeout", "--kill-after=5", limit, self.tool / name, "v1", *arguments]
        return subprocess.run(
            command,
            cwd=self.workplace,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
        )


def _present(path: Path) -> Path:
    """The file, or its compressed form."""
    return path if path.exists() else path.with_name(f"{path.name}.gz")


def _prefixed(networks: str, folder: Path) -> str:
    """The first column with full paths; a list stays a list, in one argument."""
    if not networks.startswith("["):
        return str(_present(folder / networks))
    inner = networks.strip("[]").replace("'", "")
    pairs = [pair.strip("() ").split(",") for pair in inner.split("),")]
    shown = (f"('{name.strip()}','{_present(folder / file.strip())}')" for name, file in pairs)
    return f"[{','.join(shown)}]"
