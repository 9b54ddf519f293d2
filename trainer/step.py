"""One training step: up to four phases, each a gradient over the global batch and an Adam update; then the average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from sg3tf.models.base import BaseGenerator
from trainer import losses, stats
from trainer.config import Options
from trainer.distribution import Workers
from trainer.inputs import Batch, DiscriminatorInputs, FakeInputs, PathLengthInputs, RealInputs, View
from trainer.losses import Metrics
from trainer.random_inputs import RandomInputs
from trainer.state import TrainState

EMA_RAMP_UP = 0.05  # the half-life is at most this share of the images seen so far

Inputs = TypeVar("Inputs")
#: (state, inputs) -> (loss of each image, {name of a metric: its values})
LossFunction = Callable[[Any, Any], tuple[tf.Tensor, Metrics]]


class TrainStep:
    """Runs the phases of a step under a strategy, accumulating gradients where the batch does not fit at once.

    Args:
        state: networks and optimizers.
        options: options of the run.
        strategy: the strategy in whose scope `state` was made.
        random_inputs: latents and labels of the generated images, parameters of the augmentation.

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

    def __init__(
        self, state: TrainState, options: Options, strategy: tf.distribute.Strategy, random_inputs: RandomInputs
    ) -> None:
        self.state, self.options, self.strategy, self.random_inputs = state, options, strategy, random_inputs
        self.num_accumulation_steps = options.num_accumulation_steps(strategy.num_replicas_in_sync)
        self.workers = Workers(strategy)
        G, D = state.G.trainable_variables, state.D.trainable_variables
        self._phases = {
            "G": self._phase("G", losses.generator_phase, G, state.g_optimizer),
            "PL": self._phase("PL", losses.path_length_phase, G, state.g_optimizer),
            "D": self._phase("D", losses.discriminator_phase, D, state.d_optimizer),
            "R1": self._phase("R1", losses.r1_phase, D, state.d_optimizer),
        }
        self._held_out_scores = self._measurement(losses.held_out_scores)
        self._update_ema = tf.function(self._update_ema_in_scope)

    def run(self, real: Batch, held_out: Batch | None = None) -> Metrics:
        """Train on one batch; return the moments of every metric, over all workers.

        Args:
            real: training images: this worker's part of the batch.
            held_out: images that are only judged, likewise; None in steps without.
        """
        state, options = self.state, self.options
        metrics = self._phases["G"](self._fake_inputs("G", "G"))
        if options.pl_weight and state.step % options.pl_interval == 0:
            metrics = {**metrics, **self._phases["PL"](self._path_length_inputs())}
        real_inputs, fake_inputs = self._real_inputs(real, "D real"), self._fake_inputs("D", "D fake")
        scores = self._phases["D"](DiscriminatorInputs(real_inputs, fake_inputs))
        if held_out is not None:
            scores = {**scores, **self._held_out_scores(self._real_inputs(held_out, "validation"))}
        metrics, judged = stats.add(metrics, scores), [scores]
        if options.gamma and state.step % options.r1_interval == 0:
            scores = self._phases["R1"](self._real_inputs(real, "R1"))
            metrics, judged = stats.add(metrics, scores), [*judged, scores]
        if options.aug == "ada":
            sources = state.controller.sources
            state.controller.observe(*({n: stats.mean(phase[n]) for n in sources if n in phase} for phase in judged))
        keep = ema_decay(options.batch, state.cur_nimg, options.ema_half_life_nimg, ramp_up=options.from_scratch)
        self._update_ema(tf.constant(keep))
        state.cur_nimg += options.batch
        state.step += 1
        return metrics

    # --- Inputs of the phases: NumPy arrays of this worker ------------------------------------------------------------

    def _fake_inputs(self, latents: str, augmentation: str) -> FakeInputs:
        drawn = self.random_inputs.latents(latents, self.state.cur_nimg)
        return FakeInputs(self._worker_slice(drawn), self._view(augmentation))

    def _real_inputs(self, batch: Batch, augmentation: str) -> RealInputs:
        images, label = batch
        return RealInputs(images, label, self._view(augmentation))

    def _path_length_inputs(self) -> PathLengthInputs:
        count = self.options.batch // 2
        latents = self.random_inputs.latents("PL", self.state.cur_nimg, count)
        directions = self.random_inputs.directions(self.state.cur_nimg, count)
        return self._worker_slice(PathLengthInputs(latents, directions))

    def _view(self, augmentation: str) -> View:
        blur_sigma = params = p = None
        if self.options.uses_blur:
            sigma = self.options.blur_sigma(self.state.cur_nimg)
            blur_sigma = np.full([self.options.batch], sigma, np.float32)
        if self.state.augment is not None:
            params = self.random_inputs.augmentation(augmentation, self.state.cur_nimg)
            p = np.full([self.options.batch], self.state.controller.probability, np.float32)
        return self._worker_slice(View(blur_sigma, params, p))

    def _worker_slice(self, inputs: Inputs) -> Inputs:
        """This worker's part of inputs of the global batch."""
        return tf.nest.map_structure(lambda array: array[self.workers.part(len(array))], inputs)

    # --- Phases on devices --------------------------------------------------------------------------------------------

    def _phase(self, name: str, loss_function: LossFunction, variables: list[Any], optimizer: Any) -> Any:
        """A function of a phase's inputs that updates `variables` and returns the moments of the metrics."""

        def replica_step(inputs: Any) -> Metrics:
            with tf.name_scope(f"phase_{name}"):
                gradients, reached, metrics = self._accumulate(loss_function, inputs, variables)
                context = tf.distribute.get_replica_context()
                gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
                gradients, health = zero_nonfinite(gradients)
                optimizer.apply(gradients, reached)
                first = tf.cast(context.replica_id_in_sync_group == 0, tf.float32)  # all replicas have the same health
                metrics = {n: stats.moments(value) for n, value in metrics.items()}
                return metrics | {f"Gradients/{name}/{n}": stats.moments(v) * first for n, v in health.items()}

        return self._distributed(replica_step)

    def _measurement(self, function: Callable[..., Metrics]) -> Any:
        """A function of inputs that updates nothing and returns the moments of the metrics."""

        def replica_step(inputs: Any) -> Metrics:
            parts = [function(self.state, self._part(inputs, index)) for index in range(self.num_accumulation_steps)]
            return {name: stats.moments(tf.concat([part[name] for part in parts], 0)) for name in parts[0]}

        return self._distributed(replica_step)

    def _distributed(self, replica_step: Callable[[Any], Metrics]) -> Callable[[Any], Metrics]:
        @tf.function
        def run(inputs: Any) -> Metrics:
            metrics = self.strategy.run(replica_step, args=(inputs,))
            return {name: self.strategy.reduce("SUM", value, axis=None) for name, value in metrics.items()}

        return lambda inputs: run(self._to_devices(inputs))

    def _accumulate(
        self, loss_function: LossFunction, inputs: Any, variables: list[Any]
    ) -> tuple[list[tf.Tensor], list[Any], Metrics]:
        """This replica's share of the gradients of the mean loss over the global batch, variables, metrics' values."""

        gradients, reached, metrics = summed_gradients(loss_function, self.state, self._part(inputs, 0), variables)
        for index in range(1, self.num_accumulation_steps):
            more, _, more_metrics = summed_gradients(loss_function, self.state, self._part(inputs, index), variables)
            gradients = [a + b for a, b in zip(gradients, more, strict=True)]
            metrics = {name: tf.concat([value, more_metrics[name]], axis=0) for name, value in metrics.items()}
        # Gradients are going to be summed over replicas.
        images = _count(inputs) * self.strategy.num_replicas_in_sync
        return [gradient / images for gradient in gradients], reached, metrics

    def _part(self, inputs: Inputs, index: int) -> Inputs:
        """The images of one accumulation step among those of a replica."""
        size = _count(inputs) // self.num_accumulation_steps
        return tf.nest.map_structure(lambda value: value[index * size : (index + 1) * size], inputs)

    def _to_devices(self, inputs: Any) -> Any:
        """This worker's inputs as tensors, cut so that accumulation steps and replicas can be nested either way."""
        arrays = tf.nest.flatten(inputs)
        replicas = self.strategy.num_replicas_in_sync // self.workers.count

        def slices(context: tf.distribute.experimental.ValueContext) -> list[tf.Tensor]:
            index = context.replica_id_in_sync_group % replicas  # counted over all workers, called for our own
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


def _count(inputs: Any) -> int:
    """Number of images, static."""
    return tf.nest.flatten(inputs)[0].shape[0]


def summed_gradients(
    loss_function: LossFunction, state: Any, inputs: Any, variables: list[Any]
) -> tuple[list[tf.Tensor], list[Any], Metrics]:
    """Gradients of the sum of a phase's loss over images, their variables, and the values of the phase's metrics.

    Divide the gradients, which are float32, by the number of images: divided inside, float16 would underflow.
    Variables on which the loss does not depend are left out, as the phase must not update them: D's last bias under R1,
    and the biases of ToRGB layers under path length regularization.
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
    """Zero the numbers that are not finite, as one overflowing image must not ruin the weights.

    Returns:
        The gradients, and of all of them together the norm, how many numbers were not finite, and 1 if any was.
    """
    finite = [tf.math.is_finite(gradient) for gradient in gradients]
    kept = [tf.where(ok, gradient, tf.zeros_like(gradient)) for ok, gradient in zip(finite, gradients, strict=True)]
    lost = tf.add_n([tf.reduce_sum(1 - tf.cast(ok, tf.float32)) for ok in finite])
    return kept, {"norm": tf.linalg.global_norm(kept), "nonfinite": lost, "overflow": tf.cast(lost > 0, tf.float32)}


# --- Moving average of the generator (arXiv 2006.06676, appendix C; on half-lives arXiv 2312.02696, section 4.2) ------


def ema_decay(batch: int, cur_nimg: int, half_life_nimg: float, ramp_up: bool = True) -> float:
    """Share that the average keeps in the step that begins at `cur_nimg` images.

    Args:
        batch: images of a step.
        cur_nimg: images seen before this step, so that the first step keeps nothing.
        half_life_nimg: images after which half of the average is replaced.
        ramp_up: shorten the half-life to EMA_RAMP_UP times cur_nimg at the beginning.
    """
    if ramp_up:
        half_life_nimg = min(half_life_nimg, cur_nimg * EMA_RAMP_UP)
    return 0.5 ** (batch / max(half_life_nimg, 1e-8))


def update_ema(average: BaseGenerator, model: BaseGenerator, decay: tf.Tensor) -> None:
    """Move the average's trained weights towards the model's by 1 - decay; copy running statistics and constants."""
    strategy = tf.distribute.get_strategy()

    def mix(target: Any, source: Any) -> None:
        target.assign(source + decay * (target - source))

    def copy(target: Any, source: Any) -> None:
        target.assign(source)

    for target, source in zip(average.trainable_variables, model.trainable_variables, strict=True):
        strategy.extended.update(target.value, mix, args=(source.value,), group=False)
    for target, source in zip(average.non_trainable_variables, model.non_trainable_variables, strict=True):
        strategy.extended.update(target.value, copy, args=(source.value,), group=False)
