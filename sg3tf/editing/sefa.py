"""SeFa: directions that change a network's styles most (arXiv 2007.06600, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sg3tf.editing.ganspace import leading_eigenvectors
from sg3tf.models.generators import Generator
from sg3tf.models.layers import EqualizedDense
from sg3tf.models.stylegan2 import StyleGAN2Generator
from sg3tf.models.stylegan3 import StyleGAN3Generator


def sefa_directions(G: Generator, layers: Sequence[int], count: int) -> NDArray[np.float64]:
    """Eigenvectors of A^T A, where A [styles, w_dim] maps w to the styles of all convolutions that use it.

    Args:
        G: any generator.
        layers: indices of style vectors; only convolutions that use them are considered.
        count: number of directions.

    Returns:
        [count, w_dim], orthonormal, in order of decreasing change; the largest element of each is positive.

    Raises:
        ValueError: no convolution uses these style vectors.
    """
    readers = style_matrices(G)
    chosen = [matrix for layer in layers for matrix in readers[layer]]
    if not chosen:
        raise ValueError(f"layers={list(layers)}: no convolution reads these style vectors; add others")
    A = np.concatenate(chosen)
    return leading_eigenvectors(A.T @ A, count)


def style_matrices(G: Generator) -> list[list[NDArray[np.float64]]]:
    """Return, for every style vector, the matrices [styles, w_dim] of the convolutions that use it.

    The Fourier input of StyleGAN3 has no styles.
    """
    readers: list[list[NDArray[np.float64]]] = [[] for _ in range(G.num_ws)]
    if isinstance(G, StyleGAN3Generator):
        first = G.num_ws - len(G.synthesis_layers)
        for index, layer in enumerate(G.synthesis_layers, start=first):
            p = layer.plan
            gain = (p.in_channels * p.conv_kernel**2) ** -0.5 if p.is_torgb else 1.0
            readers[index].append(_matrix(layer.affine) * gain)
        return readers
    for index, conv in enumerate(G.convs):
        readers[index].append(_matrix(conv.affine))
    if isinstance(G, StyleGAN2Generator):
        for index, torgb in enumerate(reversed(G.torgbs)):  # one per two layers, or only the last one
            readers[-1 - 2 * index].append(_matrix(torgb.affine) / torgb.affine.units**0.5)
    return readers


def _matrix(affine: EqualizedDense) -> NDArray[np.float64]:
    kernel = np.asarray(affine.kernel, np.float64)
    return kernel.T * (affine.lr_multiplier / kernel.shape[0] ** 0.5)
