"""Reading results: folders of `vnn-mondeq bench`, and records of `benchmarks/certify_table.py`."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from vnn_mondeq.bench.manifest import MANIFEST_FILE
from vnn_mondeq.bench.records import Ending, read_results
from vnn_mondeq.errors import InputError
from vnn_mondeq.report.outcome import DECIDED, Ball, Group, Outcome, Run
from vnn_mondeq.result import Reason, Verdict

if TYPE_CHECKING:
    from vnn_mondeq.bench.manifest import Manifest
    from vnn_mondeq.bench.records import RunRecord

_OUTCOMES = {
    "unsat": Outcome.CERTIFIED,
    "sat": Outcome.FALSIFIED,
    "unknown": Outcome.OPEN,
    "timed-out": Outcome.OPEN,
    "misclassified": Outcome.MISCLASSIFIED,
}


def read_groups(paths: Sequence[Path]) -> list[Group]:
    """All groups of runs in these files and folders, in the order of their names.

    A folder is one of `vnn-mondeq bench`, or holds such folders or `.jsonl` records, at any depth.

    **Raises** `InputError` for what is none of these, and where nothing is found.
    """
    groups = _told_apart([(path, group) for start in paths for path, group in _read(start)])
    if not groups:
        raise InputError(
            f"no results in {', '.join(map(str, paths))}; give a folder that vnn-mondeq bench "
            "wrote, or .jsonl records of benchmarks/certify_table.py"
        )
    return groups


def _told_apart(found: Sequence[tuple[Path, Group]]) -> list[Group]:
    """Groups that differ in nothing but where they were read get that into their subject."""
    names = Counter((group.name, group.backend) for _, group in found)
    return [
        group
        if names[group.name, group.backend] == 1
        else replace(group, subject=f"{group.subject} ({path})")
        for path, group in found
    ]


def _read(path: Path) -> list[tuple[Path, Group]]:
    """Each group with the file or folder that it is from."""
    if path.is_file():
        return [(path, _table_group(path))]
    if not path.is_dir():
        raise InputError(f"{path}: does not exist")
    if (path / MANIFEST_FILE).is_file():
        return [(path, group) for group in _bench_groups(path)]
    inside = sorted(p for p in path.iterdir() if p.is_dir() or p.suffix == ".jsonl")
    return [found for part in inside for found in _read(part)]


def _bench_groups(folder: Path) -> list[Group]:
    """A group for each model and backend; of repeats, the first counts, with their median time."""
    results = read_results(folder)
    chosen: dict[tuple[str, str], dict[str, list[RunRecord]]] = {}
    for record in results.runs:
        runs = chosen.setdefault((record.model, record.backend), {})
        runs.setdefault(record.instance, []).append(record)
    subject = _list_name(results.manifest.instances)
    manifest = _bench_manifest(results.manifest, len(results.runs))
    return [
        Group(
            model=model,
            subject=subject,
            backend=backend,
            timeout=_one([r.timeout for repeats in runs.values() for r in repeats]),
            runs=tuple(_bench_run(repeats) for repeats in runs.values()),
            ball=None,
            manifest=manifest,
        )
        for (model, backend), runs in sorted(chosen.items())
    ]


def _list_name(path: str) -> str:
    """The folder of an `instances.csv` tells more than its name: `digits_fc16/2.0`."""
    parts = Path(path).parts
    named = parts[:-1] if Path(path).suffix == ".csv" else parts
    return "/".join(part for part in named[-2:] if part not in ("/", ".", "..")) or path


def _bench_run(repeats: Sequence["RunRecord"]) -> Run:
    first = min(repeats, key=lambda record: record.repeat)
    seconds = sorted(record.seconds for record in repeats)
    files = [first.query.sha256, *(f"{file.name}={file.sha256}" for file in first.networks)]
    verdicts = [record.verdict for record in repeats if record.decided]
    return Run(
        instance=first.instance,
        identity=" ".join(files),
        outcome=_bench_outcome(first),
        seconds=seconds[len(seconds) // 2],
        claimed=frozenset(_OUTCOMES[verdict.value] for verdict in verdicts),
        engine=first.engine,
        upper=_upper(first.statistics),
        lower=_lower(first.statistics, first.margin if first.verdict is Verdict.UNSAT else None),
        reason=_reason(first.reason, first.detail or first.error, first.ending.value),
        expected=_expected(first.expected),
    )


def _bench_outcome(record: "RunRecord") -> Outcome:
    if record.verdict is None or record.ending in (Ending.REFUSED, Ending.CRASHED):
        return Outcome.FAILED
    return Outcome.OPEN if record.late else _OUTCOMES[record.verdict.value]


def _expected(verdict: Verdict | None) -> Outcome | None:
    decided = verdict in (Verdict.SAT, Verdict.UNSAT)
    return _OUTCOMES[verdict.value] if decided else None


def _bench_manifest(manifest: "Manifest", done: int) -> dict[str, str]:
    software, machine, settings = manifest.software, manifest.machine, manifest.settings
    changed = ", changed" if software.changed else ""
    packages = ", ".join(f"{name} {version}" for name, version in software.packages.items())
    return {
        "instances": manifest.instances,
        "runs": f"{done} of {manifest.runs}",
        "vnn-mondeq": f"{software.vnn_mondeq} {software.commit[:10]}{changed}".strip(),
        "python": f"{software.python}; {packages}",
        "machine": f"{machine.cpu}, {machine.cores} cores, {machine.system}",
        "settings": f"{settings.workers} workers, {settings.threads} threads each, "
        f"{settings.repeats} repeats, {settings.scheduler}",
        "begun": manifest.created,
    }


def _table_group(path: Path) -> Group:
    """The records of one run of `certify_table.py`."""
    head, *lines = _json_lines(path)
    try:
        settings = head["settings"]
        ball = Ball(
            settings["norm"], Fraction(settings["epsilon"]), settings["region"] == "clipped"
        )
        return Group(
            model=settings["model"],
            subject=str(ball),
            backend=settings["backend"],
            timeout=float(settings["timeout"]),
            runs=tuple(_table_run(line, f"{head['weights_sha256']} {ball}") for line in lines),
            ball=ball,
            manifest=_table_manifest(head, path),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: is no record of benchmarks/certify_table.py ({type(error).__name__}: {error})"
        ) from error


def _json_lines(path: Path) -> list[dict]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: is not one JSON object a line: {error}") from error
    if not found or not all(isinstance(line, dict) for line in found):
        raise InputError(f"{path}: holds no records")
    return found


def _table_run(line: Mapping, about: str) -> Run:
    """`about`: the network and the ball, for the run's identity."""
    statistics = line.get("statistics", {})
    outcome = _OUTCOMES[line["verdict"]]
    return Run(
        instance=f"image {line['image']}",
        identity=f"{about} {line['image']}",
        outcome=outcome,
        claimed=frozenset({outcome}) & frozenset(DECIDED),
        seconds=None if "seconds" not in line else float(line["seconds"]),
        engine=line.get("engine", ""),
        upper=_upper(statistics),
        lower=_lower(statistics, line.get("margin")),
        reason=_reason(line.get("reason", "NONE"), line.get("detail", ""), ""),
    )


def _table_manifest(head: Mapping, path: Path) -> dict[str, str]:
    names = ("numpy", "scipy", "onnxruntime")
    return {
        "instances": path.name,
        "vnn-mondeq": head["vnn_mondeq"],
        "python": f"{head['python']}; {', '.join(f'{n} {head[n]}' for n in names)}",
        "machine": head["machine"],
        "settings": f"{head['threads']} thread",
        "weights (SHA-256)": head["weights_sha256"][:16],
    }


def _upper(statistics: Mapping[str, float]) -> float | None:
    """The smallest margin that any attack found."""
    return min(_ending_in(statistics, ".best_margin"), default=None)


def _lower(statistics: Mapping[str, float], proved: float | None) -> float | None:
    """The margin of the checked proof, or the best that an engine came to without one."""
    if proved is not None and math.isfinite(proved):
        return proved
    tried = [*_ending_in(statistics, ".margin"), *_ending_in(statistics, ".craft_margin")]
    return max(tried, default=None)


def _ending_in(statistics: Mapping[str, float], end: str) -> Iterable[float]:
    return [v for k, v in statistics.items() if k.endswith(end) and v is not None]


def _reason(name: str, detail: str, ending: str) -> str:
    """For people: the reason's own sentence, and what is known beyond it."""
    known = Reason.__members__.get(name)
    sentence = known.value if known is not None else name.lower().replace("_", " ")
    note = " ".join(detail.split())[:200]
    ended = ending if ending not in ("", "answered") else ""
    return "; ".join(part for part in (ended, sentence, note) if part)


def _one(values: Sequence[float | None]) -> float | None:
    """The value that all share."""
    return values[0] if len(set(values)) == 1 else None
