"""Files of weights as dictionaries of arrays: PyTorch state dicts and MATLAB files.

A PyTorch file is a pickle; it is read with `weights_only=True`, which builds tensors and plain
containers and runs no code of the file.
"""

import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from vnn_mondeq.errors import InputError

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Names under which trainers store the state dict beside epoch and optimiser."""

_DAMAGE = (RuntimeError, EOFError, LookupError, TypeError, ValueError, zipfile.BadZipFile)
"""What PyTorch's unpickler raises for bytes that no `torch.save` has written."""


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch checkpoint by name: a state dict, or one under a usual name.

    **Raises** `InputError` when PyTorch is missing, or the file is none or holds other objects.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError(
            "reading a PyTorch checkpoint needs PyTorch, which is not installed: "
            "pip install 'vnn-mondeq[train]'"
        ) from error
    try:
        with warnings.catch_warnings():
            # About pickles that no `torch.save` has written; the error says more.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: is no PyTorch file, or holds objects other than tensors, which could run "
            "code when loaded; save the weights alone: torch.save(model.state_dict(), path)"
        ) from error
    except _DAMAGE as error:
        raise InputError(f"{path}: is not a sound PyTorch file: {_first_line(error)}") from error
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path}: holds {type(content).__name__}, not a state dict of tensors")
    strange = [
        str(k) for k, v in content.items() if not isinstance(v, torch.Tensor) or v.is_complex()
    ]
    if strange:
        raise InputError(
            f"{path}: holds entries that are no real tensors: {', '.join(strange)}; save the "
            "weights alone: torch.save(model.state_dict(), path)"
        )
    arrays = {str(k): v.detach().to_dense().double().numpy() for k, v in content.items()}
    return _finite(path, arrays)


def read_matlab(path: str | Path) -> dict[str, np.ndarray]:
    """The numeric arrays of a MATLAB file (version 7 or older). **Raises** `InputError`."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(str(path), appendmat=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise InputError(f"{path}: is not a MATLAB file: {_first_line(error)}") from error
    arrays = {k: v for k, v in content.items() if not k.startswith("__")}
    strange = [k for k, v in arrays.items() if v.dtype.kind not in "fiu"]
    if strange:
        raise InputError(f"{path}: holds entries that are no real arrays: {', '.join(strange)}")
    return _finite(path, {k: v.astype(np.float64) for k, v in arrays.items()})


def require_keys(
    place: str, found: Iterable[str], expected: Iterable[str], optional: Iterable[str] = ()
) -> None:
    """**Raises** `InputError` naming every key that is missing or that would be ignored."""
    found, expected = set(found), set(expected)
    missing = sorted(expected - found)
    extra = sorted(found - expected - set(optional))
    parts = [f"lacks {', '.join(missing)}"] if missing else []
    parts += [f"has {', '.join(extra)}, which nothing would use"] if extra else []
    if parts:
        raise InputError(f"{place}: {'; and '.join(parts)}")


def _finite(path: str | Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    wrong = [name for name, array in arrays.items() if not np.all(np.isfinite(array))]
    if wrong:
        raise InputError(f"{path}: has entries that are not finite in {', '.join(wrong)}")
    return arrays


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
