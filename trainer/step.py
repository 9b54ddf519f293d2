"""One training step: three phases, each a gradient over the global batch and an Adam update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer import ema, losses
from trainer.draws import Draws
from trainer.options import Options
from trainer.state import TrainState

Tensors = dict[str, tf.Tensor]
Arrays = dict[str, NDArray[Any]]
#: tensors of one chunk on one replica -> (loss per image, {metric: number per image})
LossFunction = Callable[[Tensors], tuple[tf.Tensor, Tensors]]


class Stepper:
    """Runs the phases of a step under a strategy, accumulating gradients where the batch is larger than fits.

    Args:
        state: what is trained.
        options: of the run.
        strategy: the one in whose scope `state` was made.
        draws: latents and labels for the generator.

    Raises:
        OptionError: the batch does not divide among replicas and chunks.
    """

    def __init__(self, state: TrainState, options: Options, strategy: tf.distribute.Strategy, draws: Draws) -> None:
        self.state, self.options, self.strategy, self.draws = state, options, strategy, draws
        self.rounds = options.rounds(strategy.num_replicas_in_sync)
        G, D = state.G, state.D
        self._phases = {
            "G": self._phase(self._generator, G.trainable_variables, state.g_optimizer),
            "D": self._phase(self._discriminator, D.trainable_variables, state.d_optimizer),
            "R1": self._phase(self._r1, D.trainable_variables, state.d_optimizer),
        }
        self._update_average = tf.function(self._average)

    def run(self, images: NDArray[np.uint8], labels: NDArray[np.float32]) -> dict[str, tf.Tensor]:
        """Trains on one global batch of real images [batch, R, R, C]; returns the mean of every metric."""
        state, options = self.state, self.options
        blur_sigma = np.full([options.batch], options.blur_sigma(state.cur_nimg), np.float32)
        common: Arrays = {"blur_sigma": blur_sigma}
        real: Arrays = {**common, "images": images, "label": labels}
        for_d = {f"fake_{name}": value for name, value in self.draws.latents("D", state.cur_nimg).items()}

        metrics = self._phases["G"]({**common, **self.draws.latents("G", state.cur_nimg)})
        metrics |= self._phases["D"]({**real, **for_d})
        if options.gamma and state.step % options.r1_interval == 0:
            metrics |= self._phases["R1"](real)
        state.cur_nimg += options.batch
        state.step += 1
        self._update_average(tf.constant(ema.decay(options.batch, state.cur_nimg, options.ema_half_life_nimg)))
        return metrics

    def _average(self, decay: tf.Tensor) -> None:
        with self.strategy.scope():  # a tf.function does not inherit it
            ema.update(self.state.G_ema, self.state.G, decay)

    # What each phase minimises.

    def _generator(self, t: Tensors) -> tuple[tf.Tensor, Tensors]:
        loss, logits = losses.generator_loss(self.state.G, self.state.D, t["z"], t["label"], self._sigma(t))
        return loss, {"loss/G": loss, "logits/fake": logits}

    def _discriminator(self, t: Tensors) -> tuple[tf.Tensor, Tensors]:
        G, D = self.state.G, self.state.D
        fake, _ = losses.fake_loss(G, D, t["fake_z"], t["fake_label"], self._sigma(t))
        real, logits = losses.real_loss(D, to_float(t["images"]), t["label"], self._sigma(t))
        return fake + real, {"loss/D": fake + real, "logits/real": logits, "logits/real_sign": tf.sign(logits)}

    def _r1(self, t: Tensors) -> tuple[tf.Tensor, Tensors]:
        penalty = losses.r1_penalty(self.state.D, to_float(t["images"]), t["label"], self._sigma(t))
        # Applied every r1_interval steps, with as many times the gradient.
        return penalty * (self.options.gamma / 2) * self.options.r1_interval, {"loss/R1": penalty}

    def _sigma(self, t: Tensors) -> tf.Tensor | None:
        return t["blur_sigma"][0] if self.options.cfg == "stylegan3-r" else None

    # How a phase runs.

    def _phase(self, loss_function: LossFunction, variables: Any, optimizer: Any) -> Callable[[Arrays], Tensors]:
        def replica_step(tensors: Tensors) -> Tensors:
            gradients, metrics = self._gradients(loss_function, tensors, variables)
            optimizer.apply([zero_where_not_finite(gradient) for gradient in gradients], variables)
            return metrics

        @tf.function
        def run(tensors: Tensors) -> Tensors:
            metrics = self.strategy.run(replica_step, args=(tensors,))
            return {name: self.strategy.reduce("SUM", value, axis=None) for name, value in metrics.items()}

        return lambda arrays: run(self._distributed(arrays))

    def _gradients(
        self, loss_function: LossFunction, tensors: Tensors, variables: Any
    ) -> tuple[list[tf.Tensor], Tensors]:
        """This replica's share of the gradient of the mean loss over the global batch, and of the metrics' means."""

        def chunk(index: int) -> tuple[list[tf.Tensor], Tensors]:
            size = self.options.batch_per_replica
            part = {name: value[index * size : (index + 1) * size] for name, value in tensors.items()}
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                for variable in variables:
                    tape.watch(variable.value)
                loss, metrics = loss_function(part)
                # Optimizers sum over replicas, so everything is divided by the global batch.
                total = tf.reduce_sum(loss) / self.options.batch
            gradients = tape.gradient(total, [v.value for v in variables], unconnected_gradients="zero")
            return gradients, {name: tf.reduce_sum(m) / self.options.batch for name, m in metrics.items()}

        gradients, metrics = chunk(0)
        for index in range(1, self.rounds):
            more, more_metrics = chunk(index)
            gradients = [a + b for a, b in zip(gradients, more, strict=True)]
            metrics = {name: value + more_metrics[name] for name, value in metrics.items()}
        return gradients, metrics

    def _distributed(self, arrays: Arrays) -> Any:
        """The global batch, cut so that the split does not depend on how chunks and replicas are nested."""
        replicas = self.strategy.num_replicas_in_sync
        size = self.options.batch // replicas

        def slice_of(context: tf.distribute.ValueContext) -> Tensors:
            start = context.replica_id_in_sync_group * size
            return {name: tf.convert_to_tensor(array[start : start + size]) for name, array in arrays.items()}

        if replicas == 1:
            return {name: tf.convert_to_tensor(array) for name, array in arrays.items()}
        return self.strategy.experimental_distribute_values_from_function(slice_of)


def to_float(images: tf.Tensor) -> tf.Tensor:
    """uint8 to [-1, 1]."""
    return tf.cast(images, tf.float32) / 127.5 - 1


def zero_where_not_finite(gradient: tf.Tensor) -> tf.Tensor:
    """One overflowing image must not ruin the weights."""
    return tf.where(tf.math.is_finite(gradient), gradient, tf.zeros_like(gradient))
