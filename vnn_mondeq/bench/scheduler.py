"""Where runs are executed. The default is this machine; `vnn_mondeq.bench.dask_scheduler` has the
other."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import final

from vnn_mondeq.bench.execute import Task, execute
from vnn_mondeq.bench.process import Running
from vnn_mondeq.bench.records import RunRecord


class AbstractScheduler(ABC):
    """Executes tasks; how many at a time is its own affair."""

    @abstractmethod
    def run(self, tasks: Sequence[Task]) -> Iterator[RunRecord]:
        """The records, as the runs end. Each task yields one.

        Closing the iterator early, which an exception in its consumer does too, ends what runs and
        drops what waits.

        **Raises** what `execute` raises.
        """


@final
class LocalScheduler(AbstractScheduler):
    """`workers` processes at a time on this machine. The threads here only wait for them."""

    def __init__(self, workers: int):
        self._workers = workers

    def run(self, tasks: Sequence[Task]) -> Iterator[RunRecord]:
        running = Running()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="bench")
        try:
            futures = [pool.submit(execute, task, running) for task in tasks]
            for future in as_completed(futures):
                yield future.result()
        finally:
            running.stop()
            pool.shutdown(wait=True, cancel_futures=True)
