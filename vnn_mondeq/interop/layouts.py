"""The public training codes and how their checkpoints are laid out.

- `monotone-op-net`: github.com/locuslab/monotone_op_net (Winston & Kolter 2020; lipschitz_mondeq
  of Pabbaraju et al. has the same files): `SingleFcNet`, `SingleConvNet`, `MultiConvNet`.
- `craft`: github.com/eth-sri/CRAFT: `SingleFcNet`, and a `SingleConvNet` that differs: no zero
  padding of the image, an input convolution of any size and stride, 2x2 pooling. Its checkpoints
  hold the layer twice, under `linear_module` and `mon.linear_module`.
- `semimondeq`: the MATLAB files of SemiMonDEQ (Chen et al. 2021): `U, u, A, B, C, c`.

No checkpoint holds the monotonicity `m`, the stride, the size of the image, or the normalisation,
so the caller gives them; whatever a checkpoint does say is checked against them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, final

import numpy as np

from vnn_mondeq.errors import InputError, ModelError
from vnn_mondeq.interop.checkpoint import read_matlab, read_state_dict, require_keys
from vnn_mondeq.interop.multi_conv import export_multi_conv
from vnn_mondeq.onnx_io.export_arrays import export_arrays
from vnn_mondeq.onnx_io.export_check import prove_readable

if TYPE_CHECKING:
    import onnx

_LAYER = "mon.linear_module."
_HEAD = ("Wout.weight", "Wout.bias")


@final
@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """What a checkpoint does not say.

    - `monotonicity`: the `m` that the network was trained with.
    - `shape`: of one input, `(d,)` or `(C, H, W)`; needed by convolutional nets.
    - `mean`, `std`: of each channel (or input); with both the model takes raw inputs.
    - `stride`: of the input convolution (`craft` only).
    - `form`: as in `export_arrays`.
    """

    monotonicity: float
    shape: tuple[int, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    stride: int = 3
    form: Literal["factored", "W"] = "factored"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.monotonicity) and self.monotonicity > 0.0):
            raise InputError(f"the monotonicity must be positive, not {self.monotonicity}")
        if self.shape is not None and not (len(self.shape) in (1, 3) and min(self.shape) > 0):
            raise InputError(f"a shape is d or CxHxW, not {'x'.join(map(str, self.shape))}")
        if (self.mean is None) != (self.std is None):
            raise InputError("give both mean and std, or neither")

    def image(self, place: str, channels: int) -> tuple[int, int]:
        """Height and width. **Raises** `InputError` where the shape is missing or does not fit."""
        if self.shape is None or len(self.shape) != 3:
            raise InputError(f"{place}: is convolutional; give the shape of an image (--shape)")
        if self.shape[0] != channels:
            raise InputError(
                f"{place}: takes images of {channels} channels, not of {self.shape[0]} (--shape)"
            )
        return self.shape[1:]

    def normalisation(self) -> dict[str, np.ndarray]:
        if self.mean is None or self.std is None:
            return {}
        return {"mean": np.array(self.mean), "std": np.array(self.std)}


def convert_checkpoint(
    path: str | Path, layout: str, settings: CheckpointSettings, *, check: bool = True
) -> "onnx.ModelProto":
    """The model of a checkpoint in one of `LAYOUTS`. `check`: as in `export_arrays`.

    **Raises** `InputError` for an unknown layout, a file that cannot be read, keys that are
    missing or would be ignored, and `ModelError` where shapes do not fit or the verifier would
    refuse the model.
    """
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r}; known: {', '.join(sorted(LAYOUTS))}")
    try:
        model = LAYOUTS[layout](str(path), settings)
        if check:
            prove_readable(model)
    except ModelError as error:
        raise type(error)(
            f"{path}: {error} (read as {layout}: do layout, shape and stride fit?)"
        ) from error
    return model


def _monotone_op_net(place: str, settings: CheckpointSettings) -> "onnx.ModelProto":
    state = read_state_dict(place)
    if f"{_LAYER}A0.0.weight" in state:
        image = settings.image(place, _rank(place, state, f"{_LAYER}U.weight", 4).shape[1])
        arrays = state | settings.normalisation()
        return export_multi_conv(place, arrays, settings.monotonicity, image)
    if f"{_LAYER}g" in state:
        # A ring of zeros around the image; pooling over 4x4; 3x3 kernels throughout.
        return _convolution(place, state, settings, stride=1, zero_padding=1, pool=4)
    return _fully_connected(place, state, settings)


def _craft(place: str, settings: CheckpointSettings) -> "onnx.ModelProto":
    state = _without_twins(place, read_state_dict(place))
    if f"{_LAYER}g" in state:
        return _convolution(place, state, settings, stride=settings.stride, zero_padding=0, pool=2)
    return _fully_connected(place, state, settings)


def _semimondeq(place: str, settings: CheckpointSettings) -> "onnx.ModelProto":
    arrays = read_matlab(place)
    require_keys(place, arrays, ("U", "u", "A", "B", "C", "c"), optional=("m",))
    # MATLAB has no vectors: both come as one row or one column.
    flat = {"u": arrays["u"].reshape(-1), "c": arrays["c"].reshape(-1)}
    return _export(arrays | flat, settings)


LAYOUTS: Mapping[str, Callable[[str, CheckpointSettings], "onnx.ModelProto"]] = MappingProxyType(
    {"monotone-op-net": _monotone_op_net, "craft": _craft, "semimondeq": _semimondeq}
)
"""Name → what reads such a file."""


def _without_twins(place: str, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state without a second copy of the layer. **Raises** `InputError` if they differ."""
    twins = {key for key in state if key.startswith("linear_module.")}
    for key in sorted(twins & {k.removeprefix("mon.") for k in state}):
        if not np.array_equal(state[key], state[f"mon.{key}"]):
            raise InputError(f"{place}: {key} and mon.{key} differ")
    alone = {f"mon.{key}": state[key] for key in twins}
    return alone | {key: value for key, value in state.items() if key not in twins}


def _fully_connected(
    place: str, state: dict[str, np.ndarray], settings: CheckpointSettings
) -> "onnx.ModelProto":
    names = {f"{_LAYER}U.weight": "U", f"{_LAYER}U.bias": "u"}
    names |= {f"{_LAYER}A.weight": "A", f"{_LAYER}B.weight": "B"}
    names |= dict(zip(_HEAD, ("C", "c"), strict=True))
    require_keys(place, state, names)
    return _export({names[key]: value for key, value in state.items()}, settings)


def _export(arrays: dict[str, np.ndarray], settings: CheckpointSettings) -> "onnx.ModelProto":
    arrays = arrays | settings.normalisation() | {"m": np.array(settings.monotonicity)}
    return export_arrays(arrays, form=settings.form, input_shape=settings.shape, check=False)


def _convolution(
    place: str,
    state: dict[str, np.ndarray],
    settings: CheckpointSettings,
    *,
    stride: int,
    zero_padding: int,
    pool: int,
) -> "onnx.ModelProto":
    names = {f"{_LAYER}U.weight": "U_kernel", f"{_LAYER}U.bias": "U_bias"}
    names |= {f"{_LAYER}A.weight": "A_kernel", f"{_LAYER}B.weight": "B_kernel"}
    names |= {f"{_LAYER}g": "g", f"{_LAYER}h": "h"}
    names |= dict(zip(_HEAD, ("C", "c"), strict=True))
    require_keys(place, state, names)
    kernel = _rank(place, state, f"{_LAYER}U.weight", 4)
    # Both codes derive the circular padding and the zero ring from the size of these kernels.
    small = [f"{_LAYER}A.weight"] + ([f"{_LAYER}U.weight"] if zero_padding else [])
    wrong = [key for key in small if _rank(place, state, key, 4).shape[2:] != (3, 3)]
    if wrong:
        raise InputError(f"{place}: only 3x3 kernels are known for {', '.join(wrong)}")
    height, width = settings.image(place, kernel.shape[1])
    size = [(n + 2 * zero_padding + 2 - kernel.shape[2]) // stride + 1 for n in (height, width)]
    arrays = {names[key]: value for key, value in state.items()}
    arrays |= settings.normalisation()
    arrays |= {
        "m": np.array(settings.monotonicity),
        "stride": np.array(stride),
        "zero_padding": np.array(zero_padding),
        "pool": np.array(pool),
        "z_shape": np.array([kernel.shape[0], *size]),
    }
    return export_arrays(arrays, form=settings.form, image_size=(height, width), check=False)


def _rank(place: str, state: Mapping[str, np.ndarray], key: str, rank: int) -> np.ndarray:
    if key not in state or state[key].ndim != rank:
        raise InputError(f"{place}: {key} must be a tensor of {rank} dimensions")
    return state[key]
