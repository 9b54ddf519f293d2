"""Keras layers of the generator and the discriminator."""

from sg3tf.layers.conv import Conv
from sg3tf.layers.dense import Dense
from sg3tf.layers.fourier_input import FourierInput
from sg3tf.layers.mapping import Mapping
from sg3tf.layers.minibatch_stddev import MinibatchStddev
from sg3tf.layers.synthesis_layer import SynthesisLayer

__all__ = ["Conv", "Dense", "FourierInput", "Mapping", "MinibatchStddev", "SynthesisLayer"]
