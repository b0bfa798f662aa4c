"""How to lay out an input as an image."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.errors import InputError

_SMALLEST_SIDE = 8
"""Fewer pixels a side are taken for plain numbers unless the user says otherwise."""

_CHANNELS = (1, 3)


@final
@dataclass(frozen=True, slots=True)
class ImageShape:
    """Channels first, row by row; one channel is grey, three are red, green, blue."""

    channels: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.channels not in _CHANNELS or min(self.height, self.width) < 1:
            raise InputError(
                f"an image has 1 or 3 channels and a positive height and width, not "
                f"{self.channels}, {self.height}, {self.width}"
            )

    @property
    def size(self) -> int:
        return self.channels * self.height * self.width

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """`(H, W)` for grey, `(H, W, 3)` for colour; any shape of `size` numbers in."""
        planes = values.reshape(self.channels, self.height, self.width)
        return planes[0] if self.channels == 1 else np.moveaxis(planes, 0, -1)


def guess_image_shape(shape: tuple[int, ...]) -> ImageShape | None:
    """The image that a tensor of this shape probably is, or `None`.

    `[1, C, H, W]`, `[C, H, W]` and `[H, W]` with the channels first, or a flat square image of one
    or three channels (`[1, 784]`, `[1, 3072]`), of at least 8 pixels a side. Channels last is not
    recognised: 3 is also a width.
    """
    sizes = [size for size in shape if size != 1]
    if len(sizes) == 3 and sizes[0] == 3:
        return _large_enough(*sizes)
    if len(sizes) == 2:
        return _large_enough(1, *sizes)
    if len(sizes) == 1:
        for channels in _CHANNELS:
            side = math.isqrt(sizes[0] // channels)
            if channels * side * side == sizes[0]:
                return _large_enough(channels, side, side)
    return None


def _large_enough(channels: int, height: int, width: int) -> ImageShape | None:
    if min(height, width) < _SMALLEST_SIDE:
        return None
    return ImageShape(channels, height, width)
