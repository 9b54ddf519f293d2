"""What an exported generator answers: its signatures, as TensorFlow functions over one set of weights.

N is free in every signature and all inputs of a signature are required, as TensorFlow Serving
requires them. docs/serving.md has the table.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf

from serving.seeded_latents import z_from_seeds
from sg3tf import ops

Outputs: TypeAlias = dict[str, tf.Tensor]
Function: TypeAlias = "tf.types.experimental.GenericFunction"

#: What the tensors mean; the signatures themselves hold names, types and shapes.
TENSORS = {
    "z": "latents, standard normal",
    "psi": "truncation: 1 full variety, towards 0 the average image; a scalar, or one for every image",
    "label": "class, one-hot or all zeros",
    "seed": "numpy.random.RandomState(seed).randn(z_dim) is the latent; from 0 to 2**32-1",
    "ws": "style vectors",
    "ws_a": "style vectors where mask is 0",
    "ws_b": "style vectors where mask is 1",
    "mask": "1 takes the layer's style from ws_b, 0 from ws_a; [num_ws], or one row for every image",
    "transform": "inverse transform of the image in units of its width, in front of the learned one; identity: none",
    "images": "NHWC; uint8, or float32 with -1 black and 1 white, not clipped",
    "png_bytes": "one PNG file for every image",
}


class ServedGenerator(tf.Module):
    """A generator's weights and signatures, in the form that `tf.saved_model.save` takes.

    The Keras model itself is deliberately not an attribute: a SavedModel that tracks a Keras object
    is one the C++ loader, hence TensorFlow Serving, cannot read.

    Args:
      generator: `sg3tf.Generator`, built.
      max_batch: requests for more images than this are refused; None for any number.
      xla: have the server compile the synthesis with XLA, anew for every batch size.
    """

    def __init__(self, generator: Any, max_batch: int | None = None, xla: bool = False):
        super().__init__(name="sg3tf")
        self._max_batch = max_batch
        self._weights = [variable.value for variable in generator.variables]
        self._config = generator.config
        self._num_ws = generator.num_ws

        def mapping(z: tf.Tensor, psi: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
            psi = _per_image(psi, tf.shape(z)[0], 1, "psi must be a scalar or [N]")
            return generator.mapping(z, label, truncation_psi=psi[:, 0])

        def synthesis(ws: tf.Tensor, *transform: tf.Tensor) -> tf.Tensor:
            # A stock server has no native ops. Inside a function that XLA compiles this means its lowering for XLA.
            with ops.use_backend("matmul"):
                return generator.synthesis(ws, transform=transform[0] if transform else None)

        # Functions of their own, so that all signatures share one copy of each network.
        self._transform = [_TRANSFORM] if generator.supports_transform else []
        # The mapping is not worth compiling, and checks its inputs, which XLA leaves out.
        self._mapping = _function(mapping, self._z, _PSI, *self._label)
        self._synthesis = _function(synthesis, self._ws("ws"), *self._transform, jit_compile=xla)

    def signatures(self) -> dict[str, Function]:
        """Name -> function with an input signature and a dict of outputs."""
        generate = self._generate()
        return {
            "serving_default": generate,
            "generate": generate,
            "generate_png": self._generate_png(),
            "map": self._map(),
            "synthesize": self._synthesize(),
            "synthesize_float": self._synthesize_float(),
            "mix": self._mix(),
        }

    def _images(self, ws: tf.Tensor) -> tf.Tensor:
        # A broadcast identity, not a special case: one trace of the synthesis serves all signatures.
        identity = [tf.eye(3, batch_shape=[tf.shape(ws)[0]]) for _ in self._transform]
        return _to_uint8(self._synthesis(ws, *identity))

    def _signature(self, body: Callable[..., Outputs], *specs: tf.TensorSpec) -> Function:
        """`body` for at most `max_batch` images."""
        if self._max_batch is None:
            return _function(body, *specs)
        message = f"too many images in one request: this model takes at most {self._max_batch}"

        def limited(first: tf.Tensor, *others: tf.Tensor) -> Outputs:
            allowed = tf.debugging.Assert(tf.shape(first)[0] <= self._max_batch, [message])
            with tf.control_dependencies([allowed]):
                return body(tf.identity(first), *others)

        return _function(limited, *specs)

    def _generate(self) -> Function:
        def generate(z: tf.Tensor, psi: tf.Tensor, *label: tf.Tensor) -> Outputs:
            return {"images": self._images(self._mapping(z, psi, *label))}

        return self._signature(generate, self._z, _PSI, *self._label)

    def _generate_png(self) -> Function:
        def generate_png(seed: tf.Tensor, psi: tf.Tensor, *label: tf.Tensor) -> Outputs:
            z = z_from_seeds(seed, self._config.z_dim)
            images = self._images(self._mapping(z, psi, *label))
            # REST can only carry binary outputs whose name ends in _bytes (as base64).
            return {"png_bytes": tf.io.encode_png(images)}

        return self._signature(generate_png, tf.TensorSpec([None], tf.int64, "seed"), _PSI, *self._label)

    def _map(self) -> Function:
        def map_latents(z: tf.Tensor, psi: tf.Tensor, *label: tf.Tensor) -> Outputs:
            return {"ws": self._mapping(z, psi, *label)}

        return self._signature(map_latents, self._z, _PSI, *self._label)

    def _synthesize(self) -> Function:
        def synthesize(ws: tf.Tensor, *transform: tf.Tensor) -> Outputs:
            return {"images": _to_uint8(self._synthesis(ws, *transform))}

        return self._signature(synthesize, self._ws("ws"), *self._transform)

    def _synthesize_float(self) -> Function:
        def synthesize_float(ws: tf.Tensor, *transform: tf.Tensor) -> Outputs:
            return {"images": self._synthesis(ws, *transform)}

        return self._signature(synthesize_float, self._ws("ws"), *self._transform)

    def _mix(self) -> Function:
        def mix(ws_a: tf.Tensor, ws_b: tf.Tensor, mask: tf.Tensor) -> Outputs:
            message = f"mask must be [{self._num_ws}] or [N, {self._num_ws}]"
            mask = _per_image(mask, tf.shape(ws_a)[0], self._num_ws, message)[:, :, tf.newaxis]
            return {"images": self._images(mask * ws_b + (1.0 - mask) * ws_a)}

        mask = tf.TensorSpec(None, tf.float32, "mask")
        return self._signature(mix, self._ws("ws_a"), self._ws("ws_b"), mask)

    @property
    def _z(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, self._config.z_dim], tf.float32, "z")

    @property
    def _label(self) -> list[tf.TensorSpec]:
        dim = self._config.label_dim
        return [tf.TensorSpec([None, dim], tf.float32, "label")] if dim else []

    def _ws(self, name: str) -> tf.TensorSpec:
        return tf.TensorSpec([None, self._num_ws, self._config.w_dim], tf.float32, name)


# A scalar or [N]: only the unknown shape allows both.
_PSI = tf.TensorSpec(None, tf.float32, "psi")
_TRANSFORM = tf.TensorSpec([None, 3, 3], tf.float32, "transform")


def _function(body: Callable[..., Any], *specs: tf.TensorSpec, jit_compile: bool = False) -> Function:
    return tf.function(body, input_signature=specs, autograph=False, jit_compile=jit_compile or None)


def _to_uint8(images: tf.Tensor) -> tf.Tensor:
    """What sg3tf.images.to_uint8 does, in a graph: [-1, 1] to 0..255."""
    return tf.saturate_cast(tf.round((images + 1.0) * 127.5), tf.uint8)


def _per_image(value: tf.Tensor, batch: tf.Tensor, width: int, message: str) -> tf.Tensor:
    """`width` numbers for all images or for each of them -> [batch, width]."""
    size = tf.size(value)
    fits = tf.logical_or(size == width, size == batch * width)
    check = tf.debugging.Assert(fits, [message + "; its shape is", tf.shape(value)])
    # Not left to the order of execution: the reshape's own complaint names no argument.
    with tf.control_dependencies([check]):
        rows = tf.reshape(value, [-1, width])
    return tf.broadcast_to(rows, [batch, width])
