"""A benchmark from its list to its last record."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from vnn_mondeq.bench.environment import machine, software
from vnn_mondeq.bench.execute import Task
from vnn_mondeq.bench.instances import InstanceList
from vnn_mondeq.bench.journal import Journal, open_journal
from vnn_mondeq.bench.manifest import Manifest, Settings
from vnn_mondeq.bench.records import Results
from vnn_mondeq.bench.scheduler import AbstractScheduler
from vnn_mondeq.progress import AbstractObserver


def new_manifest(listed: InstanceList, settings: Settings) -> Manifest:
    """The manifest of a benchmark that would begin now."""
    return Manifest(
        software=software(),
        machine=machine(),
        settings=settings,
        instances=listed.name,
        instances_sha256=listed.digest(),
        runs=len(listed.instances) * len(settings.backends) * settings.repeats,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def run_campaign(
    listed: InstanceList,
    settings: Settings,
    scheduler: AbstractScheduler,
    folder: Path,
    observer: AbstractObserver,
) -> Results:
    """Do all runs that `folder` does not hold yet, and record each.

    **Returns** all records, those of earlier calls included.

    **Raises** what `open_journal` and `AbstractScheduler.run` raise. Whatever it raises, and
    whenever the process is killed, the same call goes on where this one ended.
    """
    with open_journal(folder, new_manifest(listed, settings)) as journal:
        recorded = list(journal.recorded)
        waiting = [task for task in _tasks(listed, journal) if not journal.has(task.key)]
        observer.phase("benchmark")
        observer.progress(len(recorded), journal.manifest.runs)
        if waiting:
            with closing(scheduler.run(waiting)) as records:
                for record in records:
                    if journal.append(record):
                        recorded.append(record)
                    observer.event("run", record=record)
                    observer.progress(len(recorded), journal.manifest.runs)
        return Results(journal.manifest, tuple(recorded))


def _tasks(listed: InstanceList, journal: Journal) -> Iterator[Task]:
    """Repeats are outermost, so that those of one instance lie far apart: a disturbance of the
    machine then hits one of them, not all."""
    settings = journal.manifest.settings
    for repeat in range(settings.repeats):
        for instance in listed.instances:
            for backend in settings.backends:
                yield Task(
                    instance=instance,
                    folder=listed.folder,
                    backend=backend,
                    repeat=repeat,
                    timeout=instance.timeout if settings.timeout is None else settings.timeout,
                    grace=settings.grace,
                    memory=settings.memory,
                    threads=settings.threads,
                    retries=settings.retries,
                    manifest=journal.manifest.identifier,
                )
