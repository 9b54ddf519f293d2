"""Serving signatures of a generator: TensorFlow functions that share one set of weights.

The batch size N is free in every signature. All inputs of a signature are required, as TensorFlow Serving demands.
docs/serving.md has a table.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from serving import LARGEST_SCALE
from serving.seeded_latents import z_from_seeds
from sg3tf import ops
from sg3tf.utils.class_names import class_numbers, describe_class_name
from sg3tf.utils.label_scale import LabelScale

Outputs: TypeAlias = dict[str, tf.Tensor]
Function: TypeAlias = "tf.types.experimental.GenericFunction"

#: Descriptions of the tensors for the metadata; the signatures themselves hold names, types and shapes.
TENSORS = {
    "z": "latents, standard normal",
    "psi": "truncation: 1 for full variety, 0 for the average image; a scalar, or one per image",
    "label": "class, one-hot or all zeros, or another label vector",
    "class_name": "name of a class, or its number as text, or several names separated by commas",
    "number": "number of a class, or of a place of the label, from 0",
    "seed": "the latent is numpy.random.RandomState(seed).randn(z_dim); from 0 to 2**32-1",
    "ws": "style vectors",
    "ws_a": "style vectors where mask is 0",
    "ws_b": "style vectors where mask is 1",
    "mask": "1 takes the layer's style vector from ws_b, 0 from ws_a; [num_ws], or one row per image",
    "transform": "inverse transform of the image in units of its width, applied before the learned one",
    "scale": "the PNG file is smaller by this factor, from 1, by averaging squares; a scalar, or one per image",
    "label_scale": "mean and standard deviation of that number of the labels before the data set standardized them",
    "images": "NHWC; uint8, or float32 with -1 black and 1 white, not clipped",
    "png_bytes": "one PNG file per image",
}


class ServedGenerator(tf.Module):
    """A generator's weights and signatures, in the form that `tf.saved_model.save` takes.

    The Keras model itself is deliberately not an attribute: the C++ loader, and so TensorFlow Serving, cannot read a
    SavedModel that tracks a Keras object.

    Args:
        generator: `sg3tf.Generator`, built.
        max_batch: maximum number of images per request; None for no limit.
        xla: have the server compile the synthesis with XLA, once for every batch size.
        classes: names of the classes, label_dim of them, for the input class_name; () if there are none.
        label_scale: scale of the labels before they were standardized; None if they were not.

    Examples:
        >>> import sg3tf
        >>> G = sg3tf.Generator.from_preset("stylegan2", resolution=8, channel_base=32, channel_max=4, z_dim=8, w_dim=8)
        >>> signatures = ServedGenerator(G).signatures()
        >>> signatures["generate_png"](tf.constant([85], tf.int64), tf.constant(0.7))["png_bytes"].shape
        TensorShape([1])
    """

    def __init__(
        self,
        generator: Any,
        max_batch: int | None = None,
        xla: bool = False,
        classes: Sequence[str] = (),
        label_scale: LabelScale | None = None,
    ) -> None:
        super().__init__(name="sg3tf")
        self._max_batch = max_batch
        self._classes = list(classes)
        self._label_scale = label_scale
        self._weights = [variable.value for variable in generator.variables]
        self._config = generator.config
        self._num_ws = generator.num_ws

        def mapping(z: tf.Tensor, psi: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
            psi = _broadcast_rows(psi, tf.shape(z)[0], 1, "psi must be a scalar or [N]")
            return generator.mapping(z, label, truncation_psi=psi[:, 0])

        def synthesis(ws: tf.Tensor, transform: tf.Tensor | None = None) -> tf.Tensor:
            # A stock server has no native ops. In a function that XLA compiles, "matmul" selects the lowering for XLA.
            with ops.use_backend("matmul"):
                return generator.synthesis(ws, transform=transform)

        # Separate functions, so all signatures share one copy of each network.
        self._transform = [_TRANSFORM] if generator.supports_transform else []
        # Compiling the mapping saves nothing, and XLA would drop the checks of its inputs.
        self._mapping = _function(mapping, self._z, _PSI, *self._label)
        self._synthesis = _function(synthesis, self._ws("ws"), *self._transform, jit_compile=xla)

    def signatures(self) -> dict[str, Function]:
        """Return functions by signature name, each with an input signature and a dictionary of outputs."""
        generate, generate_png, map_latents = self._generate(), self._generate_png(), self._map()
        found = {
            "serving_default": generate,
            "generate": generate,
            "generate_png": generate_png,
            "map": map_latents,
            "synthesize": self._synthesize(),
            "synthesize_float": self._synthesize_float(),
            "synthesize_png": self._synthesize_png(),
            "mix": self._mix(),
        }
        if self._label_scale:
            found["label_scale"] = self._scale_of_label(self._label_scale)
            return found  # such numbers are not classes
        if self._config.label_dim < 2:  # neither is a single number
            return found
        found["label"] = self._label_of_class()
        if self._classes:
            found["class_name"] = self._name_of_class()
        for name, function in (("generate", generate), ("generate_png", generate_png), ("map", map_latents)):
            found[f"{name}_class"] = self._by_class(function)
        return found

    def _images(self, ws: tf.Tensor) -> tf.Tensor:
        # The identity replaces a missing transform, so that one trace of the synthesis serves all signatures.
        identity = [tf.eye(3, batch_shape=[tf.shape(ws)[0]]) for _ in self._transform]
        return _to_uint8(self._synthesis(ws, *identity))

    def _signature(self, body: Callable[..., Outputs], *specs: tf.TensorSpec) -> Function:
        """Return `body` as a function that rejects more than `max_batch` images."""
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
            # TensorFlow Serving returns binary outputs over REST only if their name ends in _bytes (as base64).
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

    def _synthesize_png(self) -> Function:
        def synthesize_png(ws: tf.Tensor, *others: tf.Tensor) -> Outputs:
            *transform, scale = others
            scale = _broadcast_rows(scale, tf.shape(ws)[0], 1, "scale must be a scalar or [N]")[:, 0]
            return {"png_bytes": _to_png(_to_uint8(self._synthesis(ws, *transform)), scale)}

        return self._signature(synthesize_png, self._ws("ws"), *self._transform, _SCALE)

    def _mix(self) -> Function:
        def mix(ws_a: tf.Tensor, ws_b: tf.Tensor, mask: tf.Tensor) -> Outputs:
            message = f"mask must be [{self._num_ws}] or [N, {self._num_ws}]"
            mask = _broadcast_rows(mask, tf.shape(ws_a)[0], self._num_ws, message)[:, :, tf.newaxis]
            return {"images": self._images(mask * ws_b + (1.0 - mask) * ws_a)}

        mask = tf.TensorSpec(None, tf.float32, "mask")
        return self._signature(mix, self._ws("ws_a"), self._ws("ws_b"), mask)

    def _label_of_class(self) -> Function:
        def label(class_name: tf.Tensor) -> Outputs:
            return {"label": self._label_of(class_name)}

        return self._signature(label, _CLASS_NAME)

    def _by_class(self, function: Function) -> Function:
        """Return a signature like `function` with class_name in the place of the label, its last input."""

        def by_class(*inputs: tf.Tensor) -> Outputs:
            *others, class_name = inputs
            return function(*others, self._label_of(class_name))

        *specs, _ = function.input_signature
        return self._signature(by_class, *specs, _CLASS_NAME)

    def _label_of(self, class_name: tf.Tensor) -> tf.Tensor:
        """Return labels [N, label_dim] of texts [N], as sg3tf.utils.class_names.label_of does for one."""
        dim = self._config.label_dim
        numbers = class_numbers(self._classes, dim)
        equal = class_name[:, tf.newaxis] == tf.constant(list(numbers))
        label = tf.cast(equal, tf.float32) @ tf.one_hot(list(numbers.values()), dim)
        is_known = tf.reduce_any(equal, axis=1)
        if self._classes:
            # At most as many parts as classes, as each takes a row; the last one then has the other commas.
            parts = tf.strings.split(class_name, ",", maxsplit=len(self._classes) - 1)
            whole = tf.constant(["," not in name for name in self._classes])
            equal = whole & (tf.strings.strip(parts.flat_values)[:, tf.newaxis] == tf.constant(self._classes))
            count, row = tf.shape(class_name)[0], parts.value_rowids()
            several = tf.math.unsorted_segment_max(tf.cast(equal, tf.float32), row, count)
            label = tf.where(is_known[:, tf.newaxis], label, several)  # a class name may contain commas
            found = tf.cast(tf.reduce_any(equal, axis=1), tf.float32)
            is_known |= tf.math.unsorted_segment_min(found, row, count) > 0
        message = f"class_name must be {describe_class_name(self._classes, dim)}; it is"
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_known), [message, class_name])]):
            return tf.identity(label)

    def _name_of_class(self) -> Function:
        return self._look_up("class_name", tf.constant(self._classes))

    def _scale_of_label(self, scale: LabelScale) -> Function:
        return self._look_up("label_scale", tf.constant([*zip(scale.mean, scale.std, strict=True)], tf.float64))

    def _look_up(self, output: str, table: tf.Tensor) -> Function:
        """Return a signature that takes numbers of rows of `table`."""
        last = len(table) - 1

        def rows(number: tf.Tensor) -> Outputs:
            exists = tf.reduce_all((number >= 0) & (number <= last))
            message = f"number must be from 0 to {last}; it is"
            with tf.control_dependencies([tf.debugging.Assert(exists, [message, number])]):
                return {output: tf.gather(table, number)}

        return self._signature(rows, tf.TensorSpec([None], tf.int64, "number"))

    @property
    def _z(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, self._config.z_dim], tf.float32, "z")

    @property
    def _label(self) -> list[tf.TensorSpec]:
        dim = self._config.label_dim
        return [tf.TensorSpec([None, dim], tf.float32, "label")] if dim else []

    def _ws(self, name: str) -> tf.TensorSpec:
        return tf.TensorSpec([None, self._num_ws, self._config.w_dim], tf.float32, name)


# A scalar or [N]: only an unknown shape allows both.
_PSI = tf.TensorSpec(None, tf.float32, "psi")
_SCALE = tf.TensorSpec(None, tf.int32, "scale")
_TRANSFORM = tf.TensorSpec([None, 3, 3], tf.float32, "transform")
_CLASS_NAME = tf.TensorSpec([None], tf.string, "class_name")


def _function(body: Callable[..., Any], *specs: tf.TensorSpec, jit_compile: bool = False) -> Function:
    return tf.function(body, input_signature=specs, autograph=False, jit_compile=jit_compile or None)


def _to_uint8(images: tf.Tensor) -> tf.Tensor:
    """Convert [-1, 1] to 0..255, as sg3tf.images.to_uint8 does for arrays."""
    return tf.saturate_cast(tf.round((images + 1.0) * 127.5), tf.uint8)


def _to_png(images: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Encode uint8 images [N, H, W, C] as PNG files [N] of H / scale by W / scale pixels, rounded up.

    A batching server combines requests with different scales, so each image has its own.
    """
    scale = tf.clip_by_value(scale, 1, LARGEST_SCALE)
    size = tf.shape(images)[1:3]

    def reduced(image_and_scale: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, divisor = image_and_scale
        smaller = tf.image.resize(image[tf.newaxis], (size + divisor - 1) // divisor, tf.image.ResizeMethod.AREA)[0]
        return tf.io.encode_png(tf.saturate_cast(tf.round(smaller), tf.uint8))

    return tf.cond(
        tf.reduce_all(scale == 1),
        lambda: tf.io.encode_png(images),
        lambda: tf.map_fn(reduced, (images, scale), fn_output_signature=tf.string),
    )


def _broadcast_rows(value: tf.Tensor, batch: tf.Tensor, width: int, message: str) -> tf.Tensor:
    """Broadcast one row of `width` numbers, or one row per image, to [batch, width]."""
    size = tf.size(value)
    fits = tf.logical_or(size == width, size == batch * width)
    check = tf.debugging.Assert(fits, [message + "; its shape is", tf.shape(value)])
    # The check must run before the reshape, whose error does not name the argument.
    with tf.control_dependencies([check]):
        rows = tf.reshape(value, [-1, width])
    return tf.broadcast_to(rows, [batch, width])
