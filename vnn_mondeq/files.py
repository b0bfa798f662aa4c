"""From the names of files to an answer: load, match files with networks, decide.

What the commands `verify`, `competition` and `check` share, and `verify_files` for Python.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import InputError, MismatchError, QueryError
from vnn_mondeq.progress import AbstractObserver, NullObserver

if TYPE_CHECKING:
    from vnn_mondeq.networks import LoadedNorm
    from vnn_mondeq.onnx_io import LoadedModel
    from vnn_mondeq.query.query import Query
    from vnn_mondeq.result import Result

ANY_NETWORK = ""
"""Key of a model file given without a network name: it stands for the only network."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A query and its networks. `files`: network name → path, for every network with a file."""

    query: "Query"
    networks: "Mapping[str, LoadedModel | LoadedNorm]"
    files: Mapping[str, str]

    @property
    def model(self) -> "LoadedModel":
        """The first network: the model under test, where there is only one."""
        return self.networks[self.query.all_networks[0]]


def verify_files(
    models: str | Path | Mapping[str, str | Path],
    query: str | Path,
    timeout: float | None = None,
    *,
    backend: str = "auto",
    observer: AbstractObserver | None = None,
) -> "Result":
    """Decide a query about model files, in this process: `vnn-mondeq verify` as a function.

    **Arguments:**

    - `models`: the model of the only network, or network name → model.
    - `query`: a VNN-LIB file, 1.0 or 2.x. Any file may be compressed.
    - `timeout`: seconds, counted from this call, reading included; `None` for no limit. It is kept
      between computations: one long call into compiled code can overrun it, which the command line
      guards against and a function cannot.
    - `backend`, `observer`: as for `vnn_mondeq.verify`.

    **Returns** the answer with its evidence; never raises for want of an answer.

    **Raises** `VnnMondeqError` for files that cannot be read or do not fit each other.
    """
    from vnn_mondeq import api

    deadline = api.deadline_of(timeout)
    named = models if isinstance(models, Mapping) else {ANY_NETWORK: models}
    files = {name: str(path) for name, path in named.items()}
    _, result = decide(str(query), files, backend, deadline, observer or NullObserver())
    return result


def load_all(query_path: str, files: Mapping[str, str]) -> Loaded:
    """Load the query and its model files (keys as in `decide`).

    **Raises** what `vnn_mondeq.api` raises, and `MismatchError` for missing or surplus files.
    """
    from vnn_mondeq import api

    query = _load_query(query_path)
    assigned = assign_files(query, files)
    return Loaded(query, api.load_networks(query, assigned), assigned)


def decide(
    query_path: str,
    files: Mapping[str, str],
    backend: str,
    deadline: Deadline,
    observer: AbstractObserver,
) -> "tuple[Query, Result]":
    """Load the query and its model files and decide it before the deadline.

    **Arguments:**

    - `files`: network name (or `ANY_NETWORK`) → path of an ONNX file.

    **Raises** what `vnn_mondeq.api` raises, and `MismatchError` for missing or surplus files.
    """
    from vnn_mondeq import api

    observer.phase("reading")
    loaded = load_all(query_path, files)
    timeout = max(0.0, deadline.remaining())
    result = api.verify(
        loaded.networks,
        loaded.query,
        timeout=timeout,
        backend=backend,
        observer=observer,
    )
    return loaded.query, result


def _load_query(path: str) -> "Query":
    """**Raises** `InputError` that names the file and keeps line, column and caret."""
    from vnn_mondeq import api

    try:
        return api.load_query(path)
    except QueryError as error:
        text = str(error)
        raise InputError(text if path in text else f"{path}: {text}") from error


def assign_files(query: "Query", files: Mapping[str, str]) -> dict[str, str]:
    """Network name → file, after the rules of VNN-LIB 2.0: one file for each declared network that
    is not `equal-to` another.

    A 1.0 query has one network without a name, so its file may be given under any name.

    **Raises** `MismatchError`.
    """
    needed = query.networks
    nameless = query.version.startswith("1") or ANY_NETWORK in files
    if nameless and len(needed) == 1 and len(files) == 1:
        return {needed[0]: next(iter(files.values()))}
    missing = [name for name in needed if name not in files]
    surplus = [name or "one without a name" for name in files if name not in needed]
    if missing:
        options = " ".join(f"--network {name}=FILE.onnx" for name in missing)
        given = f" (given: {', '.join(surplus)})" if surplus else ""
        raise MismatchError(
            f"no model file for the declared network {', '.join(missing)}{given}; use {options}"
        )
    if surplus:
        raise MismatchError(
            f"a model file is given for {', '.join(surplus)}, but the query needs them only for "
            f"{', '.join(needed)}"
        )
    return dict(files)
