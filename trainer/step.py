"""One training step: up to four phases, each a gradient over the global batch and an Adam update; then the average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from sg3tf.models import power_ema
from sg3tf.models.base import BaseGenerator
from trainer import losses, stats
from trainer.config import Options
from trainer.distribution import Workers
from trainer.inputs import Batch
from trainer.losses import LossFunction, Metrics
from trainer.random_inputs import RandomInputs
from trainer.state import TrainState
from trainer.step_order import Inputs, Phase, StepOrder, StepSettings


class TrainStep(StepOrder):
    """Runs the phases of a step under a strategy, accumulating gradients where the batch does not fit at once.

    Args:
        state: networks and optimizers.
        options: options of the run.
        strategy: the strategy in whose scope `state` was made.
        random_inputs: latents and labels of generated images, and parameters of the augmentation.

    Attributes:
        replica_steps: {phase: function of a replica's inputs}, for use within the strategy.

    Raises:
        OptionError: the batch is not a multiple of batch_per_replica times the number of replicas.

    Examples:
        >>> from trainer.random_inputs import LabelArray
        >>> size = {"resolution": 16, "cbase": 128, "cmax": 8, "batch": 8, "batch_per_replica": 4}
        >>> data = {"data": "faces", "data_name": "faces", "data_digest": "sha256:0", "num_images": 64}
        >>> options = Options(cfg="stylegan3-t", image_channels=3, label_dim=0, **data, **size)
        >>> random_inputs = RandomInputs(LabelArray(np.zeros([64, 0], np.float32)), options.batch, z_dim=512, seed=0)
        >>> train_step = TrainStep(TrainState(options), options, tf.distribute.get_strategy(), random_inputs)
        >>> train_step.num_accumulation_steps
        2
    """

    state: TrainState

    def __init__(
        self, state: TrainState, options: Options, strategy: tf.distribute.Strategy, random_inputs: RandomInputs
    ) -> None:
        self.workers = Workers(strategy)
        super().__init__(state, StepSettings.of(options), random_inputs, self.workers.part)
        self.options, self.strategy = options, strategy
        self.num_accumulation_steps = options.num_accumulation_steps(strategy.num_replicas_in_sync)
        trained = {"G": (state.G, state.g_optimizer), "D": (state.D, state.d_optimizer)}
        self.replica_steps = {
            name: self._phase(name, function, *trained[network])
            for name, (function, network) in losses.phases(options.loss).items()
        }
        self.replica_steps["held_out"] = self._measurement(losses.held_out_scores)
        self._phases = {name: self._distributed(step) for name, step in self.replica_steps.items()}
        self._held_out_scores = self._phases.pop("held_out")
        self._update_ema = tf.function(self._update_ema_in_scope, autograph=False)
        self._update_power_emas = tf.function(self._update_power_emas_in_scope, autograph=False)
        self._gammas = [power_ema.exponent(sigma_rel) for sigma_rel in state.power_emas]

    def run(self, real: Batch, held_out: Batch | None = None) -> stats.Moments:
        """Train as StepOrder.run does, then update the averages for --posthoc_ema."""
        metrics = super().run(real, held_out)
        if self._gammas:
            batch = self.options.batch
            shares = [power_ema.update_weight(gamma, self.state.cur_nimg - batch, batch) for gamma in self._gammas]
            self._update_power_emas(tf.constant(shares, tf.float32))
        return metrics

    # --- Phases on devices --------------------------------------------------------------------------------------------

    def _phase(self, name: str, loss_function: LossFunction, model: keras.Model, optimizer: Any) -> Phase:
        """A function of a replica's inputs that updates `model` and returns the moments of the metrics."""
        variables = model.trainable_variables

        def replica_step(inputs: Any) -> stats.Moments:
            with tf.name_scope(f"phase_{name}"):
                gradients, reached, metrics = self._accumulate(loss_function, inputs, variables)
                context = tf.distribute.get_replica_context()
                gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
                gradients, health = zero_nonfinite(gradients)
                optimizer.apply(gradients, reached)
                first = tf.cast(context.replica_id_in_sync_group == 0, tf.float32)  # the same for all replicas
                metrics = {n: stats.moments(value) for n, value in metrics.items()}
                return metrics | {f"Gradients/{name}/{n}": stats.moments(v) * first for n, v in health.items()}

        return replica_step

    def _measurement(self, function: Callable[..., Metrics]) -> Phase:
        """A function of a replica's inputs that updates nothing and returns the moments of the metrics."""

        def replica_step(inputs: Any) -> stats.Moments:
            parts: list[Metrics] = []
            for index in range(self.num_accumulation_steps):
                parts.append(function(self.state, self._part(inputs, index, after=parts[-1:])))
            return {name: stats.moments(tf.concat([part[name] for part in parts], 0)) for name in parts[0]}

        return replica_step

    def _distributed(self, replica_step: Phase) -> Phase:
        @tf.function(autograph=False)  # no condition is a tensor; searching takes a tenth of the start-up time
        def run(inputs: Any) -> stats.Moments:
            metrics = self.strategy.run(replica_step, args=(inputs,))
            return {name: self.strategy.reduce("SUM", value, axis=None) for name, value in metrics.items()}

        return lambda inputs: run(self._to_devices(inputs))

    def _accumulate(
        self, loss_function: LossFunction, inputs: Any, variables: list[Any]
    ) -> tuple[list[tf.Tensor], list[Any], Metrics]:
        """This replica's share of the gradients of the mean loss over the global batch, variables, metrics' values."""
        gradients, reached, metrics = summed_gradients(loss_function, self.state, self._part(inputs, 0), variables)
        for index in range(1, self.num_accumulation_steps):
            part = self._part(inputs, index, after=gradients)
            more, _, more_metrics = summed_gradients(loss_function, self.state, part, variables)
            gradients = [a + b for a, b in zip(gradients, more, strict=True)]
            metrics = {name: tf.concat([value, more_metrics[name]], axis=0) for name, value in metrics.items()}
        # Gradients will be summed over replicas.
        images = _count(inputs) * self.strategy.num_replicas_in_sync
        return [gradient / images for gradient in gradients], reached, metrics

    def _part(self, inputs: Inputs, index: int, after: Any = ()) -> Inputs:
        """One accumulation step's images out of those of a replica.

        They are available after the tensors in `after` are: otherwise, TensorFlow may compute the parts at the same
        time, with the memory of all of them.
        """
        size = _count(inputs) // self.num_accumulation_steps
        with tf.control_dependencies(tf.nest.flatten(after)):
            return tf.nest.map_structure(lambda value: value[index * size : (index + 1) * size], inputs)

    def _to_devices(self, inputs: Any) -> Any:
        """This worker's inputs as tensors, split so that accumulation steps and replicas can be nested either way."""
        arrays = tf.nest.flatten(inputs)
        replicas = self.strategy.num_replicas_in_sync // self.workers.count

        def slices(context: tf.distribute.experimental.ValueContext) -> list[tf.Tensor]:
            index = context.replica_id_in_sync_group % replicas  # the id counts all workers' replicas
            sizes = [len(array) // replicas for array in arrays]
            return [tf.convert_to_tensor(a[index * n : (index + 1) * n]) for a, n in zip(arrays, sizes, strict=True)]

        if self.strategy.num_replicas_in_sync == 1:
            tensors = [tf.convert_to_tensor(array) for array in arrays]
        else:
            tensors = self.strategy.experimental_distribute_values_from_function(slices)
        return tf.nest.pack_sequence_as(inputs, tensors)

    def _update_ema_in_scope(self, decay: tf.Tensor) -> None:
        with self.strategy.scope():  # a tf.function does not inherit it
            update_ema(self.state.G_ema, self.state.G, decay)

    def _update_power_emas_in_scope(self, shares: tf.Tensor) -> None:
        with self.strategy.scope():
            for average, share in zip(self.state.power_emas.values(), tf.unstack(shares), strict=True):
                update_power_ema(average, self.state.G, share)


def _count(inputs: Any) -> int:
    """Number of images, static."""
    return tf.nest.flatten(inputs)[0].shape[0]


def summed_gradients(
    loss_function: LossFunction, state: Any, inputs: Any, variables: list[Any]
) -> tuple[list[tf.Tensor], list[Any], Metrics]:
    """Gradients of the sum of a phase's loss over images, their variables, and the values of the phase's metrics.

    Divide the gradients, which are float32, by the number of images; dividing earlier would make float16 underflow.
    Variables that the loss does not depend on are left out, because the phase must not update them: D's last bias for
    R1, and the biases of ToRGB layers for path length regularization.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for variable in variables:
            tape.watch(variable.value)
        loss, metrics = loss_function(state, inputs)
        total = tf.reduce_sum(loss)
    gradients = tape.gradient(total, [v.value for v in variables])
    reached = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
    return [g for g, _ in reached], [v for _, v in reached], metrics


def zero_nonfinite(gradients: list[tf.Tensor]) -> tuple[list[tf.Tensor], Metrics]:
    """Zero the numbers that are not finite, because one overflowing image must not ruin the weights.

    Returns:
        The gradients, and for all of them together: the norm, how many numbers were not finite, and 1 if any was.
    """
    finite = [tf.math.is_finite(gradient) for gradient in gradients]
    kept = [tf.where(ok, gradient, tf.zeros_like(gradient)) for ok, gradient in zip(finite, gradients, strict=True)]
    lost = tf.add_n([tf.reduce_sum(1 - tf.cast(ok, tf.float32)) for ok in finite])
    return kept, {"norm": tf.linalg.global_norm(kept), "nonfinite": lost, "overflow": tf.cast(lost > 0, tf.float32)}


# --- Moving average of the generator ----------------------------------------------------------------------------------


def update_ema(average: BaseGenerator, model: BaseGenerator, decay: tf.Tensor) -> None:
    """Update the average's trained weights, keeping the share `decay`; copy running statistics and constants."""
    _update_average(average, model, lambda old, new: new + decay * (old - new))


def update_power_ema(average: BaseGenerator, model: BaseGenerator, share: tf.Tensor) -> None:
    """Like `update_ema`, but given 1 - decay: for long averages, decay itself is not exact enough in float32."""
    _update_average(average, model, lambda old, new: old + share * (new - old))


def _update_average(average: BaseGenerator, model: BaseGenerator, mixed: Callable[[Any, Any], Any]) -> None:
    strategy = tf.distribute.get_strategy()

    def mix(target: Any, source: Any) -> None:
        target.assign(mixed(target, source))

    def copy(target: Any, source: Any) -> None:
        target.assign(source)

    # Layers of the model may be frozen, which does not change the order of all its variables.
    for target, source in zip(average.variables, model.variables, strict=True):
        update = mix if target.trainable else copy
        strategy.extended.update(target.value, update, args=(source.value,), group=False)
