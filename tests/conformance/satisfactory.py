"""Running `vnnlib-satisfactory` and reading its report; `make conformance` calls this as a script:

    python tests/conformance/satisfactory.py SOLVER    # exit code 1 if docs/conformance.md is wrong

The suite asks `supports`, skips what is not listed, and calls `verify` for the rest with five
seconds for each test, start-up included.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "conformance.md"


@final
@dataclass(frozen=True, slots=True)
class Tally:
    """What a run of the suite gave: test → `pass`, `fail`, `suspect`, `error` or `skip`."""

    outcomes: Mapping[str, str]

    def having(self, *outcomes: str) -> list[str]:
        return sorted(test for test, found in self.outcomes.items() if found in outcomes)

    @property
    def counts(self) -> dict[str, int]:
        """As the first table of docs/conformance.md has them."""
        return {
            "tests": len(self.outcomes),
            "executed": len(self.outcomes) - len(self.having("skip")),
            "passed": len(self.having("pass")),
            "wrong": len(self.having("fail")),
            "no verdict": len(self.having("suspect", "error")),
            "not executed": len(self.having("skip")),
        }


def read_report(folder: Path) -> Tally:
    """The report that the suite leaves in the folder it was started in."""
    report = json.loads((folder / ".vnnlib-satisfactory" / "report.json").read_text())
    found = {result["test_id"]: result["outcome"] for result in report["results"]}
    found |= {skipped["test_id"]: "skip" for skipped in report["skipped"]}
    return Tally(found)


def documented_counts() -> dict[str, int]:
    """The rows `| name | number |` of docs/conformance.md."""
    rows = re.findall(r"^\| ([a-z ]+?) \| (\d+) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    return {name: int(number) for name, number in rows}


def documented_gaps() -> set[str]:
    """The tests that docs/conformance.md names as not executed or without a verdict."""
    rows = re.findall(r"^\| (`[^|]+`) \| [^|]+ \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def differences(tally: Tally) -> list[str]:
    """What docs/conformance.md says otherwise; empty if it is true."""
    found = []
    counts = documented_counts()
    for name, number in tally.counts.items():
        if counts.get(name) != number:
            found.append(f"{name}: {number}, and docs/conformance.md says {counts.get(name)}")
    gaps = set(tally.having("skip", "suspect", "error"))
    found += [f"{test}: no verdict, not in the table" for test in sorted(gaps - documented_gaps())]
    found += [f"{test}: in the table, has one" for test in sorted(documented_gaps() - gaps)]
    found += [f"{test}: a wrong verdict" for test in tally.having("fail")]
    return found


def main(solver: str) -> int:
    suite = Path(sys.executable).with_name("vnnlib-satisfactory")
    if not suite.exists():
        print("conformance: skipped, vnnlib-satisfactory is not installed here")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([suite, "run", "--solver", solver], cwd=folder)
        if done.returncode != 0:
            # Version 1.0.1 cannot write its report after a test that it had to kill.
            print("conformance: the suite failed, perhaps because a test exceeded its five seconds")
            return 1
        found = differences(read_report(Path(folder)))
    print("\n".join(found) or "docs/conformance.md is true")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(str(Path(sys.argv[1]).resolve())))
