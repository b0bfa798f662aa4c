"""From groups of runs to a report."""

from collections.abc import Sequence

from vnn_mondeq.report.document import Document, Section
from vnn_mondeq.report.outcome import Group, Outcome, contradictions
from vnn_mondeq.report.plots import pictures
from vnn_mondeq.report.tables import (
    engine_table,
    gap_table,
    manifest_tables,
    open_table,
    paper_table,
    verdict_table,
)


def compose(groups: Sequence[Group], title: str) -> Document:
    """All sections for which there are data; wrong verdicts, if any, come first."""
    drawn = {picture.name: picture for picture in pictures(groups)}
    gap = [drawn[name] for name in ("gap",) if name in drawn]
    margins = [drawn[name] for name in ("margins",) if name in drawn]
    times = [picture for name, picture in drawn.items() if name not in ("gap", "margins")]
    papers, left_open, engines = paper_table(groups), open_table(groups), engine_table(groups)
    sections = [
        _contradictions(groups),
        Section("Verdicts", tables=[verdict_table(groups)], pictures=gap),
        *([Section("Beside the papers", tables=[papers])] if papers else []),
        Section("Attack and certificate", tables=[gap_table(groups)], pictures=margins),
        Section("Time", tables=[engines] if engines else [], pictures=times),
        *([Section("Open instances", tables=[left_open])] if left_open else []),
        Section("Made with", tables=manifest_tables(groups)),
    ]
    return Document(title, _summary(groups), sections)


def _summary(groups: Sequence[Group]) -> str:
    counts = {outcome: sum(group.count(outcome) for group in groups) for outcome in Outcome}
    runs = sum(len(group.runs) for group in groups)
    parts = [
        f"{counts[Outcome.CERTIFIED]} certified",
        f"{counts[Outcome.FALSIFIED]} falsified",
        f"{counts[Outcome.OPEN]} open",
    ]
    if counts[Outcome.MISCLASSIFIED]:
        parts.append(f"{counts[Outcome.MISCLASSIFIED]} misclassified")
    if counts[Outcome.FAILED]:
        parts.append(f"{counts[Outcome.FAILED]} failed")
    models = len({group.model for group in groups})
    sizes = (_plural(runs, "run"), _plural(models, "model"), _plural(len(groups), "group"))
    return f"{', '.join(sizes)}: {', '.join(parts)}."


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _contradictions(groups: Sequence[Group]) -> Section:
    found = contradictions(groups)
    if not found:
        sound = "No instance has both a proof and a counterexample"
        if any(run.expected is not None for group in groups for run in group.runs):
            sound += ", and no verdict contradicts what its list expects"
        return Section("Soundness", paragraphs=[f"{sound}."])
    return Section(
        "Wrong verdicts",
        paragraphs=["Each of these means that a verdict is wrong. Please report it."],
        items=found,
        urgent=True,
    )
