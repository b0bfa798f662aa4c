"""The tables of a report."""

import statistics
from collections.abc import Sequence

from vnn_mondeq.report.document import Table
from vnn_mondeq.report.outcome import DECIDED, Group, Outcome, Run
from vnn_mondeq.report.published import Published, published


def number(value: float | None) -> str:
    """Three digits, without an exponent between a thousandth and a million."""
    if value is None:
        return "–"
    if value != 0.0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _spare(table: Table, *, same: Sequence[str], zero: Sequence[str]) -> Table:
    """The table without columns of `same` where all rows agree, and of `zero` where all are 0."""
    columns = list(zip(*table.rows, strict=True))
    kept = [
        at
        for at, name in enumerate(table.headers)
        if not (name in same and len(set(columns[at])) == 1)
        and not (name in zero and set(columns[at]) == {"0"})
    ]
    return Table(
        table.caption,
        [table.headers[at] for at in kept],
        [[row[at] for at in kept] for row in table.rows],
        [table.numeric[at] for at in kept],
    )


def verdict_table(groups: Sequence[Group]) -> Table:
    """Counts and times of every group."""
    headers = (
        *("model", "instances are", "backend", "instances", "unsat", "sat", "open"),
        *("misclassified", "failed", "median s", "mean s", "max s", "limit s"),
    )
    table = Table(
        "unsat: certified, with a re-checked proof. sat: a counterexample that onnxruntime "
        "confirmed. open: unknown, or the time limit struck. Seconds are wall clock for one "
        "instance.",
        headers,
        [_verdict_row(group) for group in groups],
        (False, False, False, *(True,) * 10),
    )
    return _spare(table, same=["instances are", "backend"], zero=["misclassified", "failed"])


def _verdict_row(group: Group) -> list[str]:
    seconds = group.seconds
    times = (
        (statistics.median(seconds), statistics.fmean(seconds), seconds[-1])
        if seconds
        else (None, None, None)
    )
    counts = (Outcome.CERTIFIED, Outcome.FALSIFIED, Outcome.OPEN)
    rest = (Outcome.MISCLASSIFIED, Outcome.FAILED)
    return [
        *(group.model, group.subject, group.backend, str(len(group.runs))),
        *(str(group.count(outcome)) for outcome in (*counts, *rest)),
        *map(number, (*times, group.timeout)),
    ]


def engine_table(groups: Sequence[Group]) -> Table | None:
    """Which engine gave how many proofs; `None` where no group has any."""
    counted = [(group, _engines(group)) for group in groups]
    names = sorted({name for _, engines in counted for name in engines})
    if not names:
        return None
    rows = [
        [group.model, group.subject, group.backend, *(str(e.get(n, 0)) for n in names)]
        for group, e in counted
        if e
    ]
    table = Table(
        "Which engine made the proofs behind unsat.",
        ("model", "instances are", "backend", *names),
        rows,
        (False, False, False, *(True,) * len(names)),
    )
    return _spare(table, same=["instances are", "backend"], zero=[])


def _engines(group: Group) -> dict[str, int]:
    found: dict[str, int] = {}
    for run in group.runs:
        if run.outcome is Outcome.CERTIFIED and run.engine:
            found[run.engine] = found.get(run.engine, 0) + 1
    return found


def paper_table(groups: Sequence[Group]) -> Table | None:
    """Beside the printed figures; `None` where there are none.

    A figure for the other region stands beside ours only where we have no results for its own.
    """
    balls = [(group.model, group.ball) for group in groups if group.ball is not None]
    pairs = [
        (group, printed)
        for group in groups
        if group.ball is not None
        for printed in published(group.model, group.ball)
        if printed.ball.matches(group.ball)
        or not any(m == group.model and printed.ball.matches(ball) for m, ball in balls)
    ]
    if not pairs:
        return None
    sources = {printed.source for _, printed in pairs}
    return Table(
        "Of the first 100 test images. “attack leaves”: classified correctly, and no "
        "counterexample found. A figure for the other region is about another problem, since the "
        "ball clipped to the range of pixels is smaller than the whole ball. Printed in: "
        f"{'; '.join(sorted(sources))}.",
        (
            *("model", "ours is for", "certified", "attack leaves", "median s"),
            *("printed for", "certified", "attack leaves", "mean s", "its region"),
        ),
        [_paper_row(group, printed) for group, printed in pairs],
        (False, False, True, True, True, False, True, True, True, False),
    )


def _paper_row(group: Group, printed: Published) -> list[str]:
    same = group.ball is not None and printed.ball.matches(group.ball)
    region = "clipped" if printed.ball.clipped else "unclipped"
    return [
        *(group.model, str(group.ball), str(group.count(Outcome.CERTIFIED))),
        *(str(group.attack_leaves()), number(_median(group))),
        *(printed.method, str(printed.certified)),
        "–" if printed.attack_leaves is None else str(printed.attack_leaves),
        number(printed.seconds),
        region if same else f"{region}: not comparable",
    ]


def _median(group: Group) -> float | None:
    return statistics.median(group.seconds) if group.seconds else None


def gap_table(groups: Sequence[Group]) -> Table:
    """How far attack and certificate are apart, whichever backends gave them."""
    pooled: dict[tuple[str, str], dict[str, set[Outcome]]] = {}
    for group in groups:
        instances = pooled.setdefault((group.model, group.subject), {})
        for run in group.runs:
            instances.setdefault(run.instance, set()).add(run.outcome)
    table = Table(
        "Attack and certificate, all backends together: what no counterexample refutes is an upper "
        "bound on the instances that hold, and what is certified a lower one. Their difference is "
        "what is undecided.",
        ("model", "instances are", "instances", "attack leaves", "certified", "gap"),
        [[*names, *_gap(list(instances.values()))] for names, instances in pooled.items()],
        (False, False, True, True, True, True),
    )
    return _spare(table, same=["instances are"], zero=[])


def _gap(instances: Sequence[set[Outcome]]) -> list[str]:
    """Of the outcomes of each instance: how many there are, what the attack leaves, what is
    certified, and the difference."""
    out = {Outcome.FALSIFIED, Outcome.MISCLASSIFIED}
    leaves = sum(not outcomes & out for outcomes in instances)
    certified = sum(Outcome.CERTIFIED in outcomes for outcomes in instances)
    return [str(n) for n in (len(instances), leaves, certified, leaves - certified)]


def open_table(groups: Sequence[Group], limit: int = 50) -> Table | None:
    """The instances that no backend decided, with what is missing, and all failures; the first
    `limit`."""
    decided = {
        (group.model, group.subject, run.instance)
        for group in groups
        for run in group.runs
        if run.outcome in DECIDED
    }
    found = [
        (group, run)
        for group in groups
        for run in group.runs
        if run.outcome is Outcome.FAILED
        or (
            run.outcome is Outcome.OPEN
            and (group.model, group.subject, run.instance) not in decided
        )
    ]
    if not found:
        return None
    more = f" The first {limit} of {len(found)}." if len(found) > limit else ""
    table = Table(
        "Instances that no backend decided, and runs that failed. “attack”: the smallest score "
        "difference that was found; “bound”: the largest that an engine came to, not checked."
        f"{more}",
        ("model", "instances are", "backend", "instance", "attack", "bound", "seconds", "why"),
        [_open_row(group, run) for group, run in found[:limit]],
        (False, False, False, False, True, True, True, False),
    )
    return _spare(table, same=["instances are", "backend"], zero=[])


def _open_row(group: Group, run: Run) -> list[str]:
    return [
        *(group.model, group.subject, group.backend, run.instance),
        *map(number, (run.upper, run.lower, run.seconds)),
        run.reason or run.outcome.value,
    ]


def manifest_tables(groups: Sequence[Group]) -> list[Table]:
    """What the runs were made with; each manifest once."""
    tables: dict[tuple, list[str]] = {}
    for group in groups:
        # Records of one machine and version differ in the list and the model only.
        shared = tuple(
            (k, v) for k, v in group.manifest.items() if k not in ("instances", "weights (SHA-256)")
        )
        tables.setdefault(shared, []).append(group.manifest.get("instances", group.name))
    return [
        Table(
            f"Made with, for {', '.join(dict.fromkeys(lists))}.",
            ("what", "value"),
            [[name, value] for name, value in shared],
            (False, False),
        )
        for shared, lists in tables.items()
    ]
