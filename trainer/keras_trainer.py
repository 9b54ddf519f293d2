"""StyleGAN training with Keras' compile and fit, for one device.

A step is that of `sg3tf train` (trainer.step_order), which adds several devices, checkpoints that resume bit for bit,
metrics and a log.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.models.base import BaseGenerator
from sg3tf.models.discriminator import Discriminator
from sg3tf.models.generators import StyleGAN3Generator
from sg3tf.utils.resolution import image_shape
from trainer import augment, losses, stats
from trainer.adam import lazy_adam
from trainer.augment.controller import Controller
from trainer.augment.pipeline import Augment
from trainer.config import EMA_NIMG_PER_BATCH
from trainer.losses import LossFunction
from trainer.random_inputs import LabelArray, RandomInputs
from trainer.step import summed_gradients, update_ema, zero_nonfinite
from trainer.step_order import PL_INTERVAL, R1_INTERVAL, Phase, StepOrder, StepSettings

_LARGEST_PIXEL = 2.0  # of images that are nominally in [-1, 1]; resizing may exceed that
_NO_VALIDATION = (
    "validation_data, validation_split and evaluate: a GAN has no validation loss; compute sg3tf.metrics of G_ema"
)


class StyleGANTrainer(keras.Model):
    """Generator and discriminator, trained together by `fit`.

    `fit` takes a tf.data.Dataset of images, or of (images, labels), such as `sg3tf.data.dataset.Dataset.to_tf_data`
    returns. Images are [N, H, W, C], uint8 from 0 to 255 or float in [-1, 1]. Labels are float32 [N, label_dim] or
    integers [N]. N must be a multiple of the discriminator's mbstd_group_size, or smaller, so drop the remainder of an
    epoch. Images of other ranges are refused, as are sample weights, class weights and validation data: to compare with
    held-out images, compute `sg3tf.metrics` of G_ema between epochs.

    The history has the means of `loss_G`, `loss_D` and `r_t` over each epoch, and the latest `r1` penalty and
    `augment_p`. `r_t` is the fraction of real images that D classifies as real, minus the fraction that it does not;
    with the relativistic loss, "as real" means "as more real than the generated image".

    Args:
        G: generator to train, of any kind. The published half-life of its running magnitudes is 20,000 images:
            `magnitude_ema_beta=0.5 ** (batch / 20_000)`.
        D: discriminator to train, with the same resolution, channels and labels.

    Attributes:
        G, D: the networks.
        G_ema: moving average of G, the network to use: an ordinary generator, which callbacks can use between epochs.
        step: number of steps trained.
        cur_nimg: number of real images seen.

    Examples:
        >>> import sg3tf
        >>> size = {"resolution": 16, "channel_base": 128, "channel_max": 8}
        >>> G = sg3tf.Generator.from_preset("stylegan3-t", **size)
        >>> D = sg3tf.Discriminator.from_preset("stylegan3-t", **size)
        >>> trainer = StyleGANTrainer(G, D)
        >>> trainer.compile(gamma=0.1)
        >>> images = np.random.randint(0, 256, [64, 16, 16, 3], np.uint8)
        >>> history = trainer.fit(tf.data.Dataset.from_tensor_slices(images).batch(8), epochs=2, verbose=0)
        >>> trainer.G_ema.predict(np.random.randn(4, 512), verbose=0).shape
        (4, 16, 16, 3)
    """

    def __init__(self, G: BaseGenerator, D: Discriminator, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        same = {name: value for name, value in G.get_config().items() if name != "name"}
        self.G, self.D, self.G_ema = G, D, type(G).from_config({**same, "dtype": "float32"})
        self.G_ema.trainable = True  # updates of the average depend on it
        self.G_ema.set_weights(G.get_weights())
        self.step = self.cur_nimg = 0
        self.built = True

    def compile(
        self,
        g_optimizer: keras.optimizers.Optimizer | str | None = None,
        d_optimizer: keras.optimizers.Optimizer | str | None = None,
        *,
        gamma: float,
        loss: str = "logistic",
        lecam: float = 0.0,
        r1_interval: int = R1_INTERVAL,
        pl_weight: float = 0.0,
        pl_interval: int = PL_INTERVAL,
        style_mixing: float = 0.0,
        blur_kimg: float = 0.0,
        augpipe: str | None = augment.PIPE,
        augment_p: float = 0.0,
        augment_target: float | None = augment.TARGET,
        augment_kimg: float = augment.KIMG,
        ema_kimg: float | None = None,
        ema_ramp_up: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        """Set optimizers, losses and augmentation.

        Args:
            g_optimizer, d_optimizer: optimizers of G and D; default: the published Adam, with learning rates 0.0025
                (0.002 if G is a StyleGAN2Generator) and 0.002. For configs A to C, sg3tf train uses 0.0025 for G: pass
                an optimizer to do the same. Callbacks that set learning rates find none: give optimizers a schedule.
            gamma: weight of the R1 penalty; 0 for none. Useful values grow with the square of the resolution; start
                with `trainer.config.default_gamma`.
            loss: "logistic", or "relativistic": paired, with R1 and R2 (arXiv 2501.05441).
            lecam: weight of LeCam regularization (arXiv 2104.03310), for the logistic loss; 0 for none.
            r1_interval: steps between R1 penalties.
            pl_weight: weight of path length regularization; 0 for none, StyleGAN2 uses 2.
            pl_interval: steps between path length penalties.
            style_mixing: share of images with the styles of two latents; StyleGAN2 uses 0.9.
            blur_kimg: thousands of images over which the initial blur of D's images fades; stylegan3-r uses
                batch * 200 / 32.
            augpipe: augmentation pipeline; None for none.
            augment_p: probability of augmentation, or the initial one if it adapts.
            augment_target: target of r_t for the adaptive probability; None keeps it at augment_p.
            augment_kimg: thousands of images over which the adaptive probability can rise from 0 to 1.
            ema_kimg: half-life of the moving average, in thousands of images; default: batch * 10 / 32.
            ema_ramp_up: shorten this half-life at the beginning, starting from 0, as for networks with random weights;
                False keeps it, so that the average of a trained network lasts.
            seed: seed of all random numbers.
            **kwargs: further arguments of keras.Model.compile, but not metrics, which would get no predictions.

        Raises:
            ValueError: the loss is unknown, metrics are given, LeCam is used with relativistic logits, which have no
                fixed zero, or G or D is frozen as a whole.
        """
        if loss not in losses.LOSSES:
            raise ValueError(f"loss={loss!r}: give one of {', '.join(losses.LOSSES)}")
        if lecam and loss != "logistic":
            raise ValueError(f"lecam={lecam:g}: works with loss='logistic' only")
        for name in ("metrics", "weighted_metrics", "loss_weights"):
            if kwargs.get(name):
                raise ValueError(f"{name}: a GAN has no predictions to measure; compute sg3tf.metrics of G_ema instead")
        for name, network in (("G", self.G), ("D", self.D)):
            if not network.trainable_variables:
                raise ValueError(f"{name} has no trainable variables: set {name}.trainable = True")
        # Eager, because phases are chosen in Python; each phase is a compiled function.
        super().compile(optimizer=None, run_eagerly=True, **kwargs)
        self.regularization = losses.Regularization(gamma, r1_interval, pl_weight, pl_interval, lecam)
        self.ema_kimg = ema_kimg
        self.augment = None if augpipe is None else Augment(augpipe)
        target = augment.TARGET if augment_target is None else augment_target
        self.controller = Controller(1, target=target, kimg=augment_kimg, probability=augment_p)
        self.lecam_means = tf.Variable([0.0, 0.0], trainable=False, name="lecam_means") if lecam else None
        self.pl_mean = tf.Variable(0.0, trainable=False, name="pl_mean")
        random_inputs = RandomInputs(
            LabelArray(np.zeros([1, self.D.config.label_dim], np.float32)),
            1,
            self.G.config.z_dim,
            seed,
            style_mixing=style_mixing,
            num_ws=self.G.num_ws,
            noise=self.G.supports_noise,
        )
        g_rate = 0.0025 if isinstance(self.G, StyleGAN3Generator) else 0.002
        self.g_optimizer = keras.optimizers.get(g_optimizer or lazy_adam(g_rate, pl_interval if pl_weight else None))
        self.d_optimizer = keras.optimizers.get(d_optimizer or lazy_adam(0.002, r1_interval if gamma else None))
        settings = StepSettings(
            batch=1,  # each step uses the size of its data
            loss=loss,
            gamma=gamma,
            r1_interval=r1_interval,
            pl_weight=pl_weight,
            pl_interval=pl_interval,
            aug="noaug" if augpipe is None else "fixed" if augment_target is None else "ada",
            blur_fade_nimg=blur_kimg * 1000 if blur_kimg else None,
            ema_half_life_nimg=0.0,
            from_scratch=ema_ramp_up,
        )
        self._order = _StepOrder(self, settings, random_inputs)
        self._means = {name: keras.metrics.Mean(name=name) for name in ("loss_G", "loss_D", "r_t")}
        self._r1 = np.float32(0.0)

    def call(self, inputs: Any, **kwargs: Any) -> tf.Tensor:
        """Images of the averaged generator, which takes the same arguments."""
        return self.G_ema(inputs, **kwargs)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train as keras.Model.fit does; ValueError if validation is requested."""
        if kwargs.get("validation_data") is not None or kwargs.get("validation_split"):
            raise ValueError(_NO_VALIDATION)
        return super().fit(*args, **kwargs)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Raise ValueError with the remedy."""
        raise ValueError(_NO_VALIDATION)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Train on one batch: G, D, and the penalties that are due; then update the average."""
        images, label = self._images_and_label(data)
        metrics = self._order.run_batch(images, label)
        for name, metric in {"loss_G": "Loss/G/loss", "loss_D": "Loss/D/loss", "r_t": "Loss/signs/real"}.items():
            self._means[name].update_state(stats.mean(metrics[metric]), sample_weight=metrics[metric][0])
        if "Loss/r1_penalty" in metrics:
            self._r1 = stats.mean(metrics["Loss/r1_penalty"])
        means = {name: mean.result() for name, mean in self._means.items()}
        return {**means, "r1": self._r1, "augment_p": self.controller.probability}

    def _images_and_label(self, data: Any) -> tuple[tf.Tensor, NDArray[np.float32]]:
        """Images, uint8 or float32, and labels [N, label_dim] of a batch."""
        images, label, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is not None:
            raise ValueError("sample_weight or class_weight is given: images cannot be weighted; repeat some instead")
        images, c = tf.convert_to_tensor(images), self.D.config
        expected = image_shape(c.resolution, c.image_channels)
        if images.shape.rank != 4 or not images.shape[1:].is_compatible_with(expected):
            raise ValueError(f"images of shape {images.shape}: fit on batches [N, {', '.join(map(str, expected))}]")
        group = c.mbstd_group_size
        if c.mbstd_channels and len(images) > group and len(images) % group:
            raise ValueError(f"batch of {len(images)} images is not a multiple of D's mbstd_group_size={group}")
        if images.dtype != tf.uint8:
            largest = float(tf.reduce_max(tf.abs(tf.cast(images, tf.float32))))
            if not images.dtype.is_floating or largest > _LARGEST_PIXEL:
                given = f"images of type {images.dtype.name} up to {largest:g}"
                raise ValueError(f"{given}: give uint8, or floats in [-1, 1], as x / 127.5 - 1")
            images = tf.cast(images, tf.float32)
        label_dim = c.label_dim
        if label_dim == 0:
            return images, np.zeros([len(images), 0], np.float32)
        if label is None:
            raise ValueError(f"the networks have labels of width {label_dim}: fit on batches of (images, labels)")
        label = np.asarray(label)
        if label.ndim == 1:
            if label.min() < 0 or label.max() >= label_dim:
                raise ValueError(f"labels from {label.min()} to {label.max()}: give classes from 0 to {label_dim - 1}")
            if (label != np.round(label)).any():
                raise ValueError(f"labels such as {label[label != np.round(label)][0]}: give class numbers")
            label = np.eye(label_dim)[label.astype(np.int64)]
        if label.shape != (len(images), label_dim):
            raise ValueError(f"labels of shape {label.shape}: give [{len(images)}] or [{len(images)}, {label_dim}]")
        return images, label.astype(np.float32)

    # --- Saving: Keras saves networks and optimizers ------------------------------------------------------------------

    def save(self, filepath: Any, *_: Any, **__: Any) -> None:
        """Raise NotImplementedError with the remedy: a .keras file would lack what `compile` has set."""
        raise NotImplementedError(
            f"{filepath}: a StyleGANTrainer cannot be saved as a whole; save its training with "
            "save_weights('NAME.weights.h5') or ModelCheckpoint('NAME.weights.h5', save_weights_only=True), and the "
            "network with G_ema.save('NAME.keras')"
        )

    def save_own_variables(self, store: Any) -> None:
        """Save progress and augmentation, so that training continues after load_weights."""
        store["progress"] = np.array([self.step, self.cur_nimg])
        for name, variable in self._own_variables().items():
            store[name] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Load what save_own_variables saved; warn if `compile` was called when saving but not before loading."""
        if not self.compiled and set(store.keys()) > {"progress"}:
            warnings.warn(
                "load_weights of a StyleGANTrainer without compile: loads the networks, but neither optimizers nor "
                "augmentation and moving averages; to continue training, call compile first",
                stacklevel=2,
            )
        self.step, self.cur_nimg = (int(number) for number in store["progress"])
        for name, variable in self._own_variables().items():
            if name in store.keys():  # missing from weights that were saved before compile  # noqa: SIM118
                variable.assign(store[name])

    def _own_variables(self) -> dict[str, tf.Variable]:
        if not self.compiled:
            return {}
        own = [self.pl_mean, *self.controller.variables]
        if self.lecam_means is not None:
            own.append(self.lecam_means)
        return {variable.name: variable for variable in own}


class _StepOrder(StepOrder):
    """The phases of a StyleGANTrainer, as compiled functions of one device."""

    state: StyleGANTrainer

    def __init__(self, trainer: StyleGANTrainer, settings: StepSettings, random_inputs: RandomInputs) -> None:
        super().__init__(trainer, settings, random_inputs)
        trained = {"G": (trainer.G, trainer.g_optimizer), "D": (trainer.D, trainer.d_optimizer)}
        self._phases = {
            name: self._phase(function, *trained[network])
            for name, (function, network) in losses.phases(settings.loss).items()
        }
        self._update_ema = tf.function(lambda decay: update_ema(trainer.G_ema, trainer.G, decay), autograph=False)

    def run_batch(self, images: tf.Tensor, label: NDArray[np.float32]) -> stats.Moments:
        """Train on a batch of any size; generated images get its labels."""
        batch, ema_kimg = len(images), self.state.ema_kimg
        half_life_nimg = batch * EMA_NIMG_PER_BATCH if ema_kimg is None else ema_kimg * 1000
        self.settings = dataclasses.replace(self.settings, batch=batch, ema_half_life_nimg=half_life_nimg)
        self.random_inputs.batch, self.random_inputs.labels = batch, LabelArray(label)
        self.state.controller.batch = batch
        return self.run((images, label))

    def _phase(self, loss_function: LossFunction, model: keras.Model, optimizer: Any) -> Phase:
        """Return a compiled function of a phase's inputs that updates `model` and returns the metrics' moments."""
        variables = model.trainable_variables
        optimizer.build(variables)

        @tf.function(autograph=False, reduce_retracing=True)
        def run(inputs: Any) -> dict[str, tf.Tensor]:
            gradients, reached, metrics = summed_gradients(loss_function, self.state, inputs, variables)
            count = tf.cast(tf.shape(tf.nest.flatten(inputs)[0])[0], tf.float32)
            gradients, _ = zero_nonfinite([gradient / count for gradient in gradients])
            optimizer.apply(gradients, reached)
            return {name: stats.moments(value) for name, value in metrics.items()}

        return lambda inputs: run(tf.nest.map_structure(tf.convert_to_tensor, inputs))
