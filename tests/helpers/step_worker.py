"""Training steps in a process of their own, as a process can have one strategy; the results go to an npz file.

Usage: python -m tests.helpers.step_worker SPEC, a JSON file with
    strategy, data, out: strategy, data set, and the npz file;
    runs: [{impl, start, options, variants, end}], each
        impl: backend of the operations;
        start: checkpoint to begin with; made, with running statistics as in a trained network, if missing;
        options: options of the run besides the usual ones;
        variants: {name: {"batch_per_replica": ..., "order": [...], "graph": ...}}, each a step over the same batch in
            that order; without "graph" operation by operation, which saves the ten seconds of making one;
        end: None, or the folder to save the state in after the last of them.

Names of the arrays, after the name of the variant and a slash:
    PHASE/gradient/VARIABLE  gradient that the optimizer applied, each phase begun with the starting weights
    PHASE/after/VARIABLE     the trained weights after it
    PHASE/moved/VARIABLE     largest change by the phase of variables of G that are not trained
    PHASE/metric/NAME        means, of the same phases
    start/PART/VARIABLE, end/PART/VARIABLE, metric/NAME   of a whole step
    apart/PART/VARIABLE      largest difference between replicas at the end
With one replica, for the first variant, computed straight from the losses:
    direct/PHASE/metric/NAME    means
    shifted/PHASE/metric/NAME   the same with every label given to the next image
    direct/PHASE/VARIABLE       the gradient of the phase for one variable
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf import Generator
from sg3tf.data.dataset import open_dataset
from sg3tf.data.sampler import batches
from sg3tf.models.generators import StyleGAN3Generator
from sg3tf.ops import use_backend
from sg3tf.utils.rng import Purpose, generator
from tests.helpers import tiny_run
from tests.helpers.eager import without_graphs
from trainer import losses, stats
from trainer.augment.pipeline import Augment
from trainer.config import Options
from trainer.distribution import make_strategy
from trainer.inputs import Latents
from trainer.random_inputs import RandomInputs
from trainer.state import PARTS, TrainState
from trainer.step import TrainStep
from trainer.step_order import blur_sigma

Arrays = dict[str, NDArray[Any]]
KEPT = 0.75  # by the averages, in a last update from where they began


class ReorderedInputs(RandomInputs):
    """Random inputs of a run, with the images of a batch in another order."""

    order: list[int]

    def latents(self, purpose: str, cur_nimg: int, count: int | None = None) -> Latents:
        latents = super().latents(purpose, cur_nimg, count)
        if count is not None:  # of path lengths, half a batch, whose images do not meet
            return latents
        return tf.nest.map_structure(lambda value: value[self.order], latents)

    def augmentation(self, purpose: str, cur_nimg: int) -> NDArray[np.float32]:
        return super().augmentation(purpose, cur_nimg)[self.order]


def named(variables: Any) -> dict[str, Any]:
    """{number and path without the name of the model, which counts models: variable}."""
    return {f"{index:03d}.{v.path.partition('/')[2]}": v for index, v in enumerate(variables)}


def of_parts(state: TrainState) -> dict[str, Any]:
    """{PART/VARIABLE: variable} of networks and optimizers."""
    return {f"{part}/{name}": v for part in PARTS for name, v in named(getattr(state, part).variables).items()}


def like_trained(G: Generator, z: NDArray[Any], label: NDArray[Any]) -> None:
    """Set the running statistics to those of these latents, so that images have full contrast."""
    decays = [layer.magnitude_ema_beta for layer in G.synthesis_layers]
    for layer in G.synthesis_layers:
        layer.magnitude_ema_beta = 0.0
    G({"z": z, "label": label}, update_emas=True)
    for layer, decay in zip(G.synthesis_layers, decays, strict=True):
        layer.magnitude_ema_beta = decay


class Recorder:
    """Records the gradients that optimizers apply, and resets a state to its start."""

    def __init__(self, state: TrainState) -> None:
        self.state = state
        self.models = {"G": state.G, "PL": state.G, "D": state.D, "R1": state.D}
        g, d = self._spied(state.g_optimizer, state.G), self._spied(state.d_optimizer, state.D)
        self.applied = {"G": g, "PL": g, "D": d, "R1": d}
        self.start = {name: v.numpy() for name, v in of_parts(state).items()}

    def reset(self) -> None:
        self.state.cur_nimg = self.state.step = 0
        for name, variable in of_parts(self.state).items():
            variable.assign(self.start[name])

    @staticmethod
    def _spied(optimizer: Any, model: Any) -> dict[str, Any]:
        """{variable: slot with the gradient, summed over replicas, that the optimizer applied last}."""
        slots = optimizer.add_optimizer_variables(model.trainable_variables, "applied")
        plain = optimizer.update_step

        def update_step(gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
            optimizer.assign(slots[optimizer.index(variable)], gradient)
            plain(gradient, variable, learning_rate)

        optimizer.update_step = update_step
        return dict(zip(named(model.trainable_variables), slots, strict=True))

    def after(self, phase: str) -> Arrays:
        """Arrays to record when `phase` has run from the start."""
        fixed = {n: v for n, v in named(self.state.G.variables).items() if not v.trainable}
        return {
            **{f"gradient/{n}": slot.numpy() for n, slot in self.applied[phase].items()},
            **{f"after/{n}": v.numpy() for n, v in named(self.models[phase].trainable_variables).items()},
            **{f"moved/{n}": np.max(np.abs(v.numpy() - self.start[f"G/{n}"])) for n, v in fixed.items()},
        }


def phases_alone(recorder: Recorder, train_step: TrainStep, run: Callable[[], Any]) -> Arrays:
    """Make a step whose phases all begin with the starting weights."""
    arrays: Arrays = {}
    phases = train_step._phases

    def alone(name: str) -> Callable[[Any], dict[str, tf.Tensor]]:
        def phase(inputs: Any) -> dict[str, tf.Tensor]:
            recorder.reset()
            metrics = phases[name](inputs)
            seen = recorder.after(name) | {f"metric/{n}": stats.mean(v).numpy() for n, v in metrics.items()}
            arrays.update({f"{name}/{n}": value for n, value in seen.items()})
            return metrics

        return phase

    train_step._phases = {name: alone(name) for name in phases}
    run()
    train_step._phases = phases
    recorder.reset()
    return arrays


def apart(variable: Any) -> float:
    """Largest difference of a variable between replicas."""
    values = [component.numpy() for component in getattr(variable.value, "values", [variable])]
    return max(float(np.max(np.abs(value - values[0]), initial=0)) for value in values)


def direct(state: TrainState, options: Options, random_inputs: RandomInputs, batch: Any, shift: int) -> Arrays:
    """Metrics and gradients of all phases, computed without losses.*_phase and without a TrainStep."""
    images, label = losses.to_float(tf.constant(batch[0])), np.roll(batch[1], shift, axis=0)
    g, d = (shifted(random_inputs.latents(purpose, 0), shift) for purpose in ("G", "D"))
    G, D = state.G, state.D

    def logits_of(images: tf.Tensor, label: Any, purpose: str) -> tf.Tensor:
        if options.blur_fade_nimg:
            sigma = blur_sigma(0, options.blur_fade_nimg)
            images = losses.blur(images, sigma)
        if options.aug != "noaug":
            images = Augment(options.augpipe)(images, random_inputs.augmentation(purpose, 0), options.p)
        return D(images, label=label)[:, 0]

    watched = {"G": G.synthesis_layers[-1].bias, "D": D.out.kernel, "R1": D.fromrgb.kernel}
    with tf.GradientTape(persistent=True) as tape:
        g_fake = logits_of(losses.generate(G, g), g.label, "G")
        fake = logits_of(tf.stop_gradient(losses.generate(G, d, update_emas=True)), d.label, "D fake")
        real = logits_of(images, label, "D real")
        g_loss, d_loss, r1 = tf.nn.softplus(-g_fake), tf.nn.softplus(fake) + tf.nn.softplus(-real), tf.zeros([1])
        if options.gamma:
            with tf.GradientTape() as inner:
                inner.watch(images)
                r1_real = logits_of(images, label, "R1")
                total_logits = tf.reduce_sum(r1_real)
            r1 = tf.reduce_sum(tf.square(inner.gradient(total_logits, images)), axis=[1, 2, 3])
        total = {
            "G": tf.reduce_mean(g_loss),
            "D": tf.reduce_mean(d_loss),
            "R1": tf.reduce_mean(r1) * options.gamma / 2 * 16,  # once in 16 steps
        }
    metrics = {"G": {"Loss/G/loss": g_loss, "Loss/scores/fake": g_fake, "Loss/signs/fake": tf.sign(g_fake)}}
    metrics["D"] = {"Loss/D/loss": d_loss, "Loss/scores/fake": fake, "Loss/signs/fake": tf.sign(fake)}
    metrics["D"] |= {"Loss/scores/real": real, "Loss/signs/real": tf.sign(real)}
    metrics["R1"] = {"Loss/r1_penalty": r1, "Loss/D/reg": r1 * options.gamma / 2}
    if options.gamma:
        metrics["R1"] |= {"Loss/scores/real": r1_real, "Loss/signs/real": tf.sign(r1_real)}
    arrays = {f"{phase}/metric/{n}": np.mean(v) for phase, values in metrics.items() for n, v in values.items()}
    for phase in ("G", "D", "R1") if options.gamma else ("G", "D"):
        variable = watched[phase]
        model = G if phase == "G" else D
        name = next(n for n, v in named(model.trainable_variables).items() if v is variable)
        arrays[f"{phase}/{name}"] = tape.gradient(total[phase], variable.value).numpy()
    return arrays


def shifted(latents: Latents, shift: int) -> Latents:
    return dataclasses.replace(latents, label=np.roll(latents.label, shift, axis=0))


def shown_inputs(random_inputs: RandomInputs) -> Arrays:
    """Inputs of the generator for images that are no phase's."""
    rng = generator(random_inputs.seed, Purpose.LATENTS_GRID)
    z = rng.standard_normal([random_inputs.batch, random_inputs.z_dim], np.float32)
    chosen = rng.integers(len(random_inputs.labels), size=random_inputs.batch)
    return {"z": z, "label": np.stack([random_inputs.labels.label(int(i)) for i in chosen])}


def save_plain(state: TrainState, options: Options, strategy: tf.distribute.Strategy, folder: Path) -> None:
    """Save the state without the recorder's slots, which come last in the optimizers' variables."""
    plain = TrainState(options, strategy)
    for part in PARTS:
        for target, source in zip(getattr(plain, part).variables, getattr(state, part).variables, strict=False):
            target.assign(source.value)
    plain.cur_nimg, plain.step = state.cur_nimg, state.step
    plain.save(folder)


def steps(run: dict[str, Any], data: str, strategy: tf.distribute.Strategy) -> Arrays:
    """Arrays of all variants of one run."""
    result: Arrays = {}
    recorder = None
    start = Path(run["start"])
    for variant, values in run["variants"].items():
        options = tiny_run.options(data, **run["options"], batch_per_replica=values["batch_per_replica"])
        dataset = open_dataset(data, use_labels=options.cond)
        random_inputs = ReorderedInputs(dataset, options.batch, options.generator().z_dim, options.seed)
        random_inputs.order = values["order"]
        images, labels = (
            array[random_inputs.order] for array in next(batches(dataset, options.batch, seed=options.seed))
        )
        if recorder is None:
            state = TrainState(options, strategy)
            with strategy.scope():
                if not start.exists():
                    if isinstance(state.G, StyleGAN3Generator):
                        like_trained(state.G, **shown_inputs(random_inputs))
                    state.G_ema.set_weights(state.G.get_weights())
                    state.save(start)
                state.restore(start)
                recorder = Recorder(state)
            arrays = {f"start/{name}": value for name, value in recorder.start.items()}
            if strategy.num_replicas_in_sync == 1 and isinstance(state.G, StyleGAN3Generator):
                for name, shift in (("direct", 0), ("shifted", 1)):
                    found = direct(state, options, random_inputs, (images, labels), shift)
                    arrays |= {f"{name}/{n}": value for n, value in found.items()}
                    recorder.reset()
        with contextlib.nullcontext() if values["graph"] else without_graphs():
            train_step = TrainStep(state, options, strategy, random_inputs)
        arrays |= phases_alone(recorder, train_step, lambda s=train_step, i=images, c=labels: s.run((i, c)))
        metrics = train_step.run((images, labels))
        arrays |= {f"metric/{name}": stats.mean(value).numpy() for name, value in metrics.items()}
        for name, variable in of_parts(state).items():
            arrays[f"end/{name}"], arrays[f"apart/{name}"] = variable.numpy(), apart(variable)
        for name, value in {"pl_mean": state.pl_mean, "lecam_means": state.lecam_means}.items():
            if value is not None:
                arrays[f"end/{name}"] = value.numpy()
        result |= {f"{variant}/{name}": value for name, value in arrays.items()}
        if run["end"]:
            save_plain(state, options, strategy, Path(run["end"]))
            shown = state.G_ema(shown_inputs(random_inputs)).numpy()  # outside the scope, as for the image grids
            result[f"{variant}/shown"] = shown
        averages = {"G_ema": state.G_ema, **{f"power_ema_{i}": G for i, G in enumerate(state.power_emas.values())}}
        for average in averages.values():  # which the step has made equal to G
            for name, variable in named(average.variables).items():
                variable.assign(recorder.start[f"G_ema/{name}"])
        train_step._update_ema(np.asarray(KEPT, np.float32))
        if state.power_emas:
            train_step._update_power_emas(tf.constant([1 - KEPT] * len(state.power_emas)))
        for part, average in averages.items():
            result |= {f"{variant}/updated/{part}/{n}": v.numpy() for n, v in named(average.variables).items()}
        recorder.reset()
    return result


def main(spec: dict[str, Any]) -> None:
    strategy = make_strategy(spec["strategy"])
    arrays: Arrays = {}
    for run in spec["runs"]:
        with use_backend(run["impl"]):
            arrays |= steps(run, spec["data"], strategy)
    np.savez(spec["out"], **arrays)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
