"""sg3tf.generate with a server's model instead of a file."""

import numpy as np
import pytest

from sg3tf.generate.network import open_network
from sg3tf.generate.shared_flags import from_seeds
from sg3tf.latents import transform_matrix, z_from_seeds

LABEL = np.float32([0, 1])


def test_a_served_network(server, fake_generator):
    network = open_network(f"grpc://{server.address}/fake", batch=3)
    assert (network.z_dim, network.w_dim, network.num_ws, network.label_dim) == (6, 4, 3, 2)
    assert (network.resolution, network.channels, network.supports_transform) == (8, 3, True)
    latents = from_seeds(network, range(7), [0.5, 1], label=LABEL)
    z, labels, psi = np.repeat(z_from_seeds(range(7), 6), 2, axis=0), np.tile(LABEL, [14, 1]), np.tile([0.5, 1], 7)
    transform = transform_matrix(0.3, 0.1, 0.2)
    for moved in (None, transform):
        expected = fake_generator.images(z, labels, psi, moved)
        np.testing.assert_allclose(network.synthesize(latents.ws, moved).astype(int), expected, atol=1)
    with pytest.raises(ValueError, match="its layers are out of reach"):
        _ = network.generator


def test_unreachable_and_unknown(server):
    with pytest.raises(ConnectionError, match="no server answers at 127.0.0.1:1: start one") as caught:
        open_network("grpc://127.0.0.1:1/fake")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConnectionError, match=r"refused: .*nothing"):
        open_network(f"grpc://{server.address}/nothing")
