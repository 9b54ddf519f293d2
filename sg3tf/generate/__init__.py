"""What people do with a trained generator: `python -m sg3tf.generate COMMAND`, and the same as functions.

from sg3tf.generate.network import open_network
from sg3tf.generate.points import from_seeds
from sg3tf.generate.grid import grid

network = open_network("examples/portraits-32.keras")
picture = grid(network, from_seeds(network, range(64), psis=[0.7]))
"""
