"""Latents of seeds, with truncation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.latents import truncate, z_from_seeds


def latents_from_seeds(
    network: Network,
    seeds: Sequence[int],
    psis: Sequence[float] = (1.0,),
    cutoff: int | None = None,
    label: NDArray[np.float32] | None = None,
) -> Latents:
    """Return the latents of seeds.

    Args:
        network: the network they are for.
        seeds: seeds from 0 to 2**32 - 1.
        psis: truncation values, each applied to every seed.
        cutoff: number of leading style vectors to truncate; None for all.
        label: [label_dim], for a conditional network.

    Returns:
        Latents for every combination of seeds and psis, seed by seed.
    """
    ws = network.map(z_from_seeds(seeds, network.z_dim), label=label)
    labels = None if label is None else np.tile(label, [len(seeds), 1])
    untruncated = np.ones(len(seeds), np.float32)
    latents = Latents(ws, seeds=np.asarray(seeds, np.int64), psi=untruncated, label=labels)
    return sweep_truncation(network, latents, psis, cutoff)


def sweep_truncation(network: Network, latents: Latents, psis: Sequence[float], cutoff: int | None) -> Latents:
    """Return the latents with each truncation value, latent by latent; for the arguments, see `latents_from_seeds`.

    Latents that are truncated already are truncated again. Their `psi` becomes the product of both values, or None if
    that may not describe them; `trunc` then tells the values apart.
    """
    each = latents[np.repeat(np.arange(len(latents)), len(psis))]
    psi = np.tile(np.asarray(psis, np.float32), len(latents))
    ws = truncate(each.ws, network.w_avg, psi, cutoff)
    if each.psi is not None and ((psi == 1).all() or _multiplies(network, each, cutoff)):
        return dataclasses.replace(each, ws=ws, psi=each.psi * psi)
    return dataclasses.replace(each, ws=ws, psi=None, trunc=psi)


def _multiplies(network: Network, latents: Latents, cutoff: int | None) -> bool:
    """Return True if truncation multiplies the psi of the latents, which is not None."""
    is_untruncated = latents.psi is not None and bool((latents.psi == 1).all())
    return network.truncates_fully(cutoff) and (is_untruncated or _is_truncated_alike(network, latents))


def _is_truncated_alike(network: Network, latents: Latents) -> bool:
    """Return True if all style vectors were moved toward the average of the network, which has no classes."""
    return not network.label_dim and bool((latents.ws == latents.ws[:, :1]).all())
