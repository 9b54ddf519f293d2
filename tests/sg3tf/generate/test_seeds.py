"""Latents of seeds, and truncation of latents that are truncated already."""

from __future__ import annotations

import numpy as np

from sg3tf.generate.network import Network
from sg3tf.generate.seeds import latents_from_seeds, sweep_truncation


def test_truncated_again(network: Network) -> None:
    first = latents_from_seeds(network, [3, 4], [0.7])
    both = sweep_truncation(network, first, [0.5, 0.25], None)
    np.testing.assert_allclose(both.psi, [0.35, 0.175, 0.35, 0.175], rtol=1e-6)
    once = latents_from_seeds(network, [3, 4], [0.35, 0.175])
    np.testing.assert_allclose(both.ws, once.ws, rtol=1e-5, atol=1e-6)


def test_truncated_again_in_some_layers_or_to_an_unknown_center(network: Network, classes: Network) -> None:
    """No one number describes the result, unless one of the two truncations changes nothing."""
    label = np.eye(3, dtype=np.float32)[0]
    some_layers = latents_from_seeds(network, [3], [0.7], cutoff=2)
    of_class = latents_from_seeds(classes, [3], [0.7], label=label)
    assert sweep_truncation(network, latents_from_seeds(network, [3], [0.7]), [0.5], cutoff=2).psi is None
    for its_network, latents in ((network, some_layers), (classes, of_class)):
        assert sweep_truncation(its_network, latents, [0.5], None).psi is None
        np.testing.assert_array_equal(sweep_truncation(its_network, latents, [1], None).psi, latents.psi)
    whole = latents_from_seeds(classes, [3], label=label)
    np.testing.assert_array_equal(sweep_truncation(classes, whole, [0.5], cutoff=8).psi, np.float32([0.5]))
    swept = sweep_truncation(classes, whole, [0.5, 1], cutoff=2)
    assert swept.psi is None and swept.names() == ["seed0003-trunc0.50", "seed0003-trunc1.00"]
