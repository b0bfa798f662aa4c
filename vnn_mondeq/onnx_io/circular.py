"""Circular ("same") correlation with an odd kernel, as a matrix.

    (K ⊛ z)[o, i, j] = Σ_{c, a, b} K[o, c, a, b] z[c, (i + a - r) mod H, (j + b - r) mod W]

with `r = (k - 1) / 2`. Its transpose is the circular correlation with the kernel flipped along
both axes and with swapped channels.
"""

import numpy as np


def transposed_kernel(kernel: np.ndarray) -> np.ndarray:
    """The kernel of the transposed correlation, `[C_out, C_in, k, k] -> [C_in, C_out, k, k]`."""
    return np.ascontiguousarray(kernel.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])


def circular_matrix(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The dense float64 matrix of the correlation on `[C, H, W]` tensors flattened row-major.

    Exact where the kernel is no larger than the image, so that no two taps meet; else each entry
    sums at most `(k/H + 1) (k/W + 1)` taps in float64.
    """
    outputs, inputs, rows, columns = kernel.shape
    height, width = shape[1:]
    matrix = np.zeros((outputs, height, width, inputs, height, width))
    i, j = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    for a in range(rows):
        for b in range(columns):
            near_i = (i + a - rows // 2) % height
            near_j = (j + b - columns // 2) % width
            # Advanced indices around slices come first: [H, W, C_out, C_in].
            matrix[:, i, j, :, near_i, near_j] += kernel[:, :, a, b].astype(np.float64)
    return matrix.reshape(outputs * height * width, inputs * height * width)
