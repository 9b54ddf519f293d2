"""The moving average of the generator that users get (arXiv 2006.06676, appendix C; EDM2 section 4.2 on half-lives)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf import Generator
from trainer import augment, losses, stats
from trainer.config import Options
from trainer.distribution import Workers
from trainer.random_inputs import Arrays, RandomInputs
from trainer.state import TrainState

RAMP_UP = 0.05  # the half-life is at most this share of what has been trained


def decay(batch: int, cur_nimg: int, half_life_nimg: float, ramp_up: bool = True) -> float:
    """Share that the average keeps when it takes in the weights after `cur_nimg` images."""
    if ramp_up:
        half_life_nimg = min(half_life_nimg, cur_nimg * RAMP_UP)
    return 0.5 ** (batch / max(half_life_nimg, 1e-8))


def update(average: Generator, model: Generator, decay: tf.Tensor) -> None:
    """Moves trained weights towards the model's by 1 - decay; copies running statistics and constants."""
    strategy = tf.distribute.get_strategy()

    def mix(target: Any, source: Any) -> None:
        target.assign(source + decay * (target - source))

    def copy(target: Any, source: Any) -> None:
        target.assign(source)

    for target, source in zip(average.trainable_variables, model.trainable_variables, strict=True):
        strategy.extended.update(target.value, mix, args=(source.value,), group=False)
    for target, source in zip(average.non_trainable_variables, model.non_trainable_variables, strict=True):
        strategy.extended.update(target.value, copy, args=(source.value,), group=False)


# ---------------------------------------------------------------------------------------------------------------------
# One training step: up to four phases, each a gradient over the global batch and an Adam update.
# ---------------------------------------------------------------------------------------------------------------------

Tensors = dict[str, tf.Tensor]
#: tensors of one chunk on one replica -> (loss per image, {metric: its moments})
LossFunction = Callable[[Tensors], tuple[tf.Tensor, Tensors]]

#: Images and their labels, as `sg3tf.data.batches` yields them.
Batch = tuple[NDArray[np.uint8], NDArray[np.float32]]


class TrainStep:
    """Runs the phases of a step under a strategy, accumulating gradients where the batch is larger than fits.

    Args:
        state: what is trained.
        options: of the run.
        strategy: the one in whose scope `state` was made.
        draws: latents and labels for the generator, numbers for the augmentation.

    Raises:
        OptionError: the batch does not divide among replicas and chunks.
    """

    def __init__(
        self, state: TrainState, options: Options, strategy: tf.distribute.Strategy, draws: RandomInputs
    ) -> None:
        self.state, self.options, self.strategy, self.draws = state, options, strategy, draws
        self.num_accumulation_steps = options.num_accumulation_steps(strategy.num_replicas_in_sync)
        self.workers = Workers(strategy)
        self._augment = None if options.aug == "noaug" else augment.Augment(options.augpipe)
        G, D = state.G, state.D
        self._phases = {
            "G": self._phase("G", self._generator, G.trainable_variables, state.g_optimizer),
            "PL": self._phase("PL", self._path_length, G.trainable_variables, state.g_optimizer),
            "D": self._phase("D", self._discriminator, D.trainable_variables, state.d_optimizer),
            "R1": self._phase("R1", self._r1, D.trainable_variables, state.d_optimizer),
        }
        self._judge_held_out = self._measurement(self._held_out)
        self._update_average = tf.function(self._average)

    @property
    def wants_held_out(self) -> bool:
        """Whether the next step looks at held-out images."""
        return self.options.validation > 0 and self.state.step % augment.INTERVAL == 0

    @property
    def held_out_nimg(self) -> int:
        """How many held-out images the steps so far have looked at."""
        return -(-self.state.step // augment.INTERVAL) * self.options.batch

    def run(self, real: Batch, held_out: Batch | None = None) -> Tensors:
        """Trains on one batch; returns the moments of every metric, over all workers.

        Args:
            real: images to learn from: this worker's part of the batch.
            held_out: images that only are judged, where `wants_held_out`; likewise.
        """
        state, options = self.state, self.options
        metrics = self._run_generator()
        seen = self._run_discriminator(real)
        if held_out is not None:
            seen = {**seen, **self._judge_held_out({**self._real(held_out), **self._augmented("validation")})}
        if options.aug == "ada":
            state.controller.observe({n: stats.mean(seen[n]) for n in state.controller.sources if n in seen})
        metrics = stats.add(metrics, seen)
        if options.gamma and state.step % options.r1_interval == 0:
            metrics = {**metrics, **self._phases["R1"]({**self._real(real), **self._augmented("R1")})}
        state.cur_nimg += options.batch
        state.step += 1
        keep = decay(options.batch, state.cur_nimg, options.ema_half_life_nimg, ramp_up=options.from_scratch)
        self._update_average(tf.constant(keep))
        return metrics

    def _run_generator(self) -> Tensors:
        state, options, draws = self.state, self.options, self.draws
        inputs = {**self._blur(), **self._mine(draws.latents("G", state.cur_nimg)), **self._augmented("G")}
        metrics = self._phases["G"](inputs)
        if options.pl_weight and state.step % options.pl_interval == 0:
            half = options.batch // 2
            latents = draws.latents("PL", state.cur_nimg, half)
            latents["directions"] = draws.directions(state.cur_nimg, half)
            metrics = {**metrics, **self._phases["PL"](self._mine(latents))}
        return metrics

    def _run_discriminator(self, real: Batch) -> Tensors:
        latents = self._mine(self.draws.latents("D", self.state.cur_nimg))
        fake = {f"fake_{name}": value for name, value in {**latents, **self._augmented("D fake")}.items()}
        return self._phases["D"]({**self._real(real), **self._augmented("D real"), **fake})

    # What the phases are fed.

    def _real(self, batch: Batch) -> Arrays:
        return {**self._blur(), "images": batch[0], "label": batch[1]}

    def _blur(self) -> Arrays:
        if not self.options.uses_blur:
            return {}
        sigma = self.options.blur_sigma(self.state.cur_nimg)
        return self._mine({"blur_sigma": np.full([self.options.batch], sigma, np.float32)})

    def _augmented(self, purpose: str) -> Arrays:
        if self._augment is None:
            return {}
        probability = np.full([self.options.batch], self.state.controller.probability, np.float32)
        numbers = self.draws.augmentation(purpose, self.state.cur_nimg)
        return self._mine({"augment": numbers, "augment_p": probability})

    def _mine(self, arrays: Arrays) -> Arrays:
        """What is this worker's of arrays for the global batch."""
        return {name: array[self.workers.part(len(array))] for name, array in arrays.items()}

    # What each phase minimises.

    def _generator(self, t: Tensors) -> tuple[tf.Tensor, Tensors]:
        loss, logits = losses.generator_loss(self.state.G, self.state.D, t, **_seen_through(t, self._augment))
        return loss, {"Loss/G/loss": loss, **_scores("fake", logits)}

    def _path_length(self, t: Tensors) -> tuple[tf.Tensor, Tensors]:
        penalty, _ = losses.path_length_penalty(self.state.G, t, t["directions"], self.state.pl_mean)
        loss = penalty * self.options.pl_weight
        return loss * self.options.pl_interval, {"Loss/pl_penalty": penalty, "Loss/G/reg": loss}

    def _discriminator(self, t: Tensors) -> tuple[tf.Tensor, Tensors]:
        G, D = self.state.G, self.state.D
        generated = {"blur_sigma": t["blur_sigma"]} if "blur_sigma" in t else {}
        generated |= {name.removeprefix("fake_"): value for name, value in t.items() if name.startswith("fake_")}
        fake, fake_logits = losses.fake_loss(G, D, generated, **_seen_through(generated, self._augment))
        real, logits = losses.real_loss(D, to_float(t["images"]), t["label"], **_seen_through(t, self._augment))
        scores = {**_scores("fake", fake_logits), **_scores("real", logits)}
        return fake + real, {"Loss/D/loss": fake + real, **scores}

    def _r1(self, t: Tensors) -> tuple[tf.Tensor, Tensors]:
        images = to_float(t["images"])
        penalty = losses.r1_penalty(self.state.D, images, t["label"], **_seen_through(t, self._augment))
        loss = penalty * (self.options.gamma / 2)
        # Applied every r1_interval steps, with as many times the gradient.
        return loss * self.options.r1_interval, {"Loss/r1_penalty": penalty, "Loss/D/reg": loss}

    def _held_out(self, t: Tensors) -> Tensors:
        images = to_float(t["images"])
        return _scores(
            "validation",
            losses.discriminator_logits(self.state.D, images, t["label"], **_seen_through(t, self._augment)),
        )

    # How a phase runs.

    def _phase(self, name: str, loss_function: LossFunction, variables: Any, optimizer: Any) -> Any:
        """A function of arrays that updates `variables` and returns metrics."""

        def replica_step(tensors: Tensors) -> Tensors:
            with tf.name_scope(f"phase_{name}"):
                gradients, metrics = self._gradients(loss_function, tensors, variables)
                context = tf.distribute.get_replica_context()
                gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
                gradients, health = without_overflow(gradients)
                optimizer.apply(gradients, variables)
                first = tf.cast(context.replica_id_in_sync_group == 0, tf.float32)  # the same in all of them
                metrics = {n: stats.moments(value) for n, value in metrics.items()}
                return metrics | {f"Gradients/{name}/{n}": stats.moments(v) * first for n, v in health.items()}

        return self._distributed(replica_step)

    def _measurement(self, function: Callable[[Tensors], Tensors]) -> Any:
        """A function of arrays that only returns metrics."""

        def replica_step(tensors: Tensors) -> Tensors:
            chunks = [function(self._chunk(tensors, index)) for index in range(self.num_accumulation_steps)]
            return {name: stats.moments(tf.concat([c[name] for c in chunks], 0)) for name in chunks[0]}

        return self._distributed(replica_step)

    def _distributed(self, replica_step: Callable[[Tensors], Tensors]) -> Callable[[Arrays], Tensors]:
        @tf.function
        def run(tensors: Tensors) -> Tensors:
            metrics = self.strategy.run(replica_step, args=(tensors,))
            return {name: self.strategy.reduce("SUM", value, axis=None) for name, value in metrics.items()}

        return lambda arrays: run(self._split(arrays))

    def _gradients(
        self, loss_function: LossFunction, tensors: Tensors, variables: Any
    ) -> tuple[list[tf.Tensor], Tensors]:
        """This replica's share of the gradient of the mean loss over the global batch, and its metrics' values."""
        images = next(iter(tensors.values())).shape[0] * self.strategy.num_replicas_in_sync

        def chunk(index: int) -> tuple[list[tf.Tensor], Tensors]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                for variable in variables:
                    tape.watch(variable.value)
                loss, metrics = loss_function(self._chunk(tensors, index))
                # Divided by the batch only as gradients, which are float32: on the way there float16 would underflow.
                total = tf.reduce_sum(loss)
            return tape.gradient(total, [v.value for v in variables], unconnected_gradients="zero"), metrics

        gradients, metrics = chunk(0)
        for index in range(1, self.num_accumulation_steps):
            more, more_metrics = chunk(index)
            gradients = [a + b for a, b in zip(gradients, more, strict=True)]
            metrics = {name: tf.concat([value, more_metrics[name]], axis=0) for name, value in metrics.items()}
        # Gradients are going to be summed over replicas.
        return [gradient / images for gradient in gradients], metrics

    def _chunk(self, tensors: Tensors, index: int) -> Tensors:
        """The part of a replica's tensors that is worked on at a time."""
        size = next(iter(tensors.values())).shape[0] // self.num_accumulation_steps
        return {name: value[index * size : (index + 1) * size] for name, value in tensors.items()}

    def _split(self, arrays: Arrays) -> Any:
        """This worker's part of the batch, cut so that it does not matter how chunks and replicas are nested."""
        replicas = self.strategy.num_replicas_in_sync // self.workers.count

        def slice_of(context: tf.distribute.distribute_lib.ValueContext) -> Tensors:
            index = context.replica_id_in_sync_group % replicas  # counted over all workers, called for our own
            sizes = {name: len(array) // replicas for name, array in arrays.items()}
            return {n: tf.convert_to_tensor(a[index * sizes[n] :][: sizes[n]]) for n, a in arrays.items()}

        if self.strategy.num_replicas_in_sync == 1:
            return {name: tf.convert_to_tensor(array) for name, array in arrays.items()}
        return self.strategy.experimental_distribute_values_from_function(slice_of)

    def _average(self, decay: tf.Tensor) -> None:
        with self.strategy.scope():  # a tf.function does not inherit it
            update(self.state.G_ema, self.state.G, decay)


def to_float(images: tf.Tensor) -> tf.Tensor:
    """uint8 to [-1, 1]."""
    return tf.cast(images, tf.float32) / 127.5 - 1


def without_overflow(gradients: list[tf.Tensor]) -> tuple[list[tf.Tensor], Tensors]:
    """Zeroes what is not finite, as one overflowing image must not ruin the weights.

    Returns:
        gradients, and of all of them their norm, how many numbers were not finite, and 1 if any was.
    """
    finite = [tf.math.is_finite(gradient) for gradient in gradients]
    kept = [tf.where(ok, gradient, tf.zeros_like(gradient)) for ok, gradient in zip(finite, gradients, strict=True)]
    lost = tf.add_n([tf.reduce_sum(1 - tf.cast(ok, tf.float32)) for ok in finite])
    return kept, {"norm": tf.linalg.global_norm(kept), "nonfinite": lost, "overflow": tf.cast(lost > 0, tf.float32)}


def _seen_through(t: Tensors, pipeline: augment.Augment | None) -> dict[str, Any]:
    """How the losses are to blur and augment the images that belong to `t`."""
    how: dict[str, Any] = {}
    if "blur_sigma" in t:
        how["blur_sigma"] = t["blur_sigma"][0]
    if pipeline is not None:
        how["augment"] = lambda images: pipeline(images, t["augment"], t["augment_p"])
    return how


def _scores(kind: str, logits: tf.Tensor) -> Tensors:
    return {f"Loss/scores/{kind}": logits, f"Loss/signs/{kind}": tf.sign(logits)}
