"""Runs on a Dask cluster: `dask://HOST:PORT`, or `dask://local?workers=2` for one on this machine.

Each task starts its process on a worker, which needs this very version of the package and the
instance files under the same absolute paths. A worker runs as many tasks at a time as it has
threads; start it with one, unless its machine is to be shared.

Not guaranteed: that a run ends at once when the benchmark is interrupted. Dask cannot stop a task
that a worker has begun; the process then ends at its own time limit. The workers of `dask://local`
end with the benchmark.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, final
from urllib.parse import parse_qs, urlsplit

from vnn_mondeq.bench.environment import source_sha256
from vnn_mondeq.bench.execute import Task, died_with_worker, execute
from vnn_mondeq.bench.process import Running
from vnn_mondeq.bench.records import RunRecord
from vnn_mondeq.bench.scheduler import AbstractScheduler
from vnn_mondeq.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

SCHEME = "dask"
_LOCAL = "local"
_CONNECT_SECONDS = 20


@final
class DaskScheduler(AbstractScheduler):
    """**Raises** `InputError` for an address that is none, and where Dask is not installed."""

    def __init__(self, address: str):
        parts = urlsplit(address)
        if parts.scheme != SCHEME or not parts.netloc or parts.path:
            raise InputError(
                f"{address!r} is no Dask address; use dask://HOST:PORT or dask://local?workers=N"
            )
        self._is_local = parts.netloc == _LOCAL
        self._address = f"tcp://{parts.netloc}"
        self._workers = _worker_count(address, parts.query, self._is_local)
        _check_installed()

    def run(self, tasks: Sequence[Task]) -> Iterator[RunRecord]:
        from distributed import KilledWorker, as_completed

        source = source_sha256()
        with self._client() as client:
            futures = client.map(_execute_here, tasks, source=source, pure=False)
            of = dict(zip((future.key for future in futures), tasks, strict=True))
            try:
                for future, result in as_completed(futures, with_results=True, raise_errors=False):
                    if future.status == "finished":
                        yield result
                    elif isinstance(result[1], KilledWorker):
                        yield died_with_worker(of[future.key], str(result[1]))
                    else:
                        raise result[1]
            finally:
                client.cancel(futures)

    def _client(self) -> "Client":
        """Closing it closes the local cluster, too."""
        from distributed import Client

        if self._is_local:
            return Client(n_workers=self._workers, threads_per_worker=1, dashboard_address=None)
        try:
            return Client(self._address, timeout=_CONNECT_SECONDS)
        except OSError as error:
            raise InputError(
                f"no Dask scheduler answers at {self._address}: {error}; is it running?"
            ) from error


def _execute_here(task: Task, source: str) -> RunRecord:
    """On the worker. **Raises** `InputError` where its package is another one than the driver's."""
    here = source_sha256()
    if here != source:
        raise InputError(
            "a Dask worker has another version of vnn_mondeq than this command (SHA-256 of its "
            f"files {here[:12]}, here {source[:12]}); install the same one on all workers"
        )
    return execute(task, Running())


def _worker_count(address: str, query: str, is_local: bool) -> int:
    options = parse_qs(query, keep_blank_values=True)
    unknown = options.keys() - ({"workers"} if is_local else set())
    text = options.get("workers", ["2"])[-1]
    if unknown or not text.isdecimal() or int(text) < 1:
        raise InputError(
            f"{address!r}: the only option is dask://local?workers=N, with N of 1 or more"
        )
    return int(text)


def _check_installed() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the scheduler needs Dask ({error}): pip install 'vnn-mondeq[dask]'"
        ) from error
