"""Training steps in a process of their own, as a process can have one strategy; what they did goes to an npz file.

Usage: python -m tests.helpers.step_worker SPEC, a JSON file with
    strategy, data, out (the npz file): as named;
    runs: [{impl, start, options, variants, end}], each
        impl: of the operations;
        start: checkpoint to begin with; made, with running statistics as in a trained network, where missing;
        options: of the run, further ones;
        variants: {name: {"batch_per_replica": ..., "order": [...], "graph": ...}}, each a step over the same batch in
            that order; without "graph" operation by operation, which saves the ten seconds that it takes to make one;
        end: None, or where to save the state after the last of them.

Arrays, in front of them the name of the variant and a slash:
    PHASE/gradient/VARIABLE  what the optimizer applied, each phase begun with the starting weights
    PHASE/after/VARIABLE     the trained weights after it
    PHASE/moved/VARIABLE     by how much, at most, the phase changed variables of G that are not trained
    PHASE/metric/NAME        means, of the same phases
    start/PART/VARIABLE, end/PART/VARIABLE, metric/NAME   of a whole step
    apart/PART/VARIABLE      by how much replicas disagree at the end
With one replica, for the first variant, computed straight from the losses:
    direct/PHASE/metric/NAME    means
    shifted/PHASE/metric/NAME   the same with every label given to the next image
    direct/PHASE/VARIABLE       the gradient of the phase for one variable
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf import Generator
from sg3tf.data.dataset import open_dataset
from sg3tf.data.sampler import batches
from sg3tf.ops import use_backend
from tests.helpers import tiny_run
from tests.helpers.keras_private import variable_index
from trainer import losses, stats
from trainer.augment import Augment
from trainer.config import Options
from trainer.distribution import make_strategy
from trainer.random_inputs import RandomInputs
from trainer.state import TrainState
from trainer.step import TrainStep, to_float

Arrays = dict[str, NDArray[Any]]
PARTS = ("G", "D", "G_ema", "g_optimizer", "d_optimizer")


class ReorderedDraws(RandomInputs):
    """The draws of a run, with the images of a batch in another order."""

    order: list[int]

    def latents(self, purpose: str, cur_nimg: int, count: int | None = None) -> Arrays:
        return {name: value[self.order] for name, value in super().latents(purpose, cur_nimg, count).items()}

    def augmentation(self, purpose: str, cur_nimg: int) -> NDArray[np.float32]:
        return super().augmentation(purpose, cur_nimg)[self.order]


def named(variables: Any) -> dict[str, Any]:
    """{number and path without the model's own name, which counts models: variable}."""
    return {f"{index:03d}.{v.path.partition('/')[2]}": v for index, v in enumerate(variables)}


def of_parts(state: TrainState) -> dict[str, Any]:
    """{PART/VARIABLE: variable} of all that training changes."""
    return {f"{part}/{name}": v for part in PARTS for name, v in named(getattr(state, part).variables).items()}


def like_trained(G: Generator, z: NDArray[Any], label: NDArray[Any]) -> None:
    """Sets the running statistics to what they are for these latents, so that images have full contrast."""
    decays = [layer.magnitude_decay for layer in G.synthesis_layers]
    for layer in G.synthesis_layers:
        layer.magnitude_decay = 0.0
    G({"z": z, "label": label}, update_emas=True)
    for layer, decay in zip(G.synthesis_layers, decays, strict=True):
        layer.magnitude_decay = decay


class Recorder:
    """Sees what optimizers apply, and puts a state back to its start."""

    def __init__(self, state: TrainState) -> None:
        self.state = state
        self.models = {"G": state.G, "D": state.D, "R1": state.D}
        g, d = self._spied(state.g_optimizer, state.G), self._spied(state.d_optimizer, state.D)
        self.applied = {"G": g, "D": d, "R1": d}
        self.start = {name: v.numpy() for name, v in of_parts(state).items()}

    def reset(self) -> None:
        self.state.cur_nimg = self.state.step = 0
        for name, variable in of_parts(self.state).items():
            variable.assign(self.start[name])

    @staticmethod
    def _spied(optimizer: Any, model: Any) -> dict[str, Any]:
        """{variable: slot that holds the gradient, summed over replicas, that the optimizer last applied}."""
        slots = optimizer.add_optimizer_variables(model.trainable_variables, "applied")
        plain = optimizer.update_step

        def update_step(gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
            optimizer.assign(slots[variable_index(optimizer, variable)], gradient)
            plain(gradient, variable, learning_rate)

        optimizer.update_step = update_step
        return dict(zip(named(model.trainable_variables), slots, strict=True))

    def after(self, phase: str) -> Arrays:
        """What is to be known when `phase` has run from the start."""
        fixed = {n: v for n, v in named(self.state.G.variables).items() if not v.trainable}
        return {
            **{f"gradient/{n}": slot.numpy() for n, slot in self.applied[phase].items()},
            **{f"after/{n}": v.numpy() for n, v in named(self.models[phase].trainable_variables).items()},
            **{f"moved/{n}": np.max(np.abs(v.numpy() - self.start[f"G/{n}"])) for n, v in fixed.items()},
        }


def phases_alone(recorder: Recorder, stepper: TrainStep, run: Callable[[], Any]) -> Arrays:
    """A step whose phases all begin with the starting weights."""
    arrays: Arrays = {}
    phases = stepper._phases

    def alone(name: str) -> Callable[[Arrays], dict[str, tf.Tensor]]:
        def phase(inputs: Arrays) -> dict[str, tf.Tensor]:
            recorder.reset()
            metrics = phases[name](inputs)
            seen = recorder.after(name) | {f"metric/{n}": stats.mean(v).numpy() for n, v in metrics.items()}
            arrays.update({f"{name}/{n}": value for n, value in seen.items()})
            return metrics

        return phase

    stepper._phases = {name: alone(name) for name in phases}
    run()
    stepper._phases = phases
    recorder.reset()
    return arrays


def apart(variable: Any) -> float:
    """By how much a variable differs between replicas, at most."""
    values = [component.numpy() for component in getattr(variable.value, "values", [variable])]
    return max(float(np.max(np.abs(value - values[0]), initial=0)) for value in values)


def direct(state: TrainState, options: Options, draws: RandomInputs, batch: Any, shift: int) -> Arrays:
    """Metrics and gradients of all phases, without a Stepper."""
    images, label = to_float(tf.constant(batch[0])), np.roll(batch[1], shift, axis=0)
    g, d = (shifted(draws.latents(purpose, 0), shift) for purpose in ("G", "D"))
    blur = options.blur_sigma(0) or None
    G, D = state.G, state.D

    def seen(purpose: str) -> dict[str, Any]:
        numbers = draws.augmentation(purpose, 0)
        pipeline = Augment(options.augpipe)
        augment = None if options.aug == "noaug" else lambda x: pipeline(x, numbers, options.p)
        return {"blur_sigma": blur, "augment": augment}

    watched = {"G": G.synthesis_layers[-1].bias, "D": D.out.kernel, "R1": D.fromrgb.kernel}
    with tf.GradientTape(persistent=True) as tape:
        g_loss, g_fake = losses.generator_loss(G, D, g, **seen("G"))
        d_fake, fake = losses.fake_loss(G, D, d, **seen("D fake"))
        d_real, real = losses.real_loss(D, images, label, **seen("D real"))
        r1 = losses.r1_penalty(D, images, label, **seen("R1")) if options.gamma else tf.zeros([1])
        total = {
            "G": tf.reduce_mean(g_loss),
            "D": tf.reduce_mean(d_fake) + tf.reduce_mean(d_real),
            "R1": tf.reduce_mean(r1) * options.gamma / 2 * 16,  # once in 16 steps
        }
    metrics = {"G": {"Loss/G/loss": g_loss, "Loss/scores/fake": g_fake, "Loss/signs/fake": tf.sign(g_fake)}}
    metrics["D"] = {"Loss/D/loss": d_fake + d_real, "Loss/scores/fake": fake, "Loss/signs/fake": tf.sign(fake)}
    metrics["D"] |= {"Loss/scores/real": real, "Loss/signs/real": tf.sign(real)}
    metrics["R1"] = {"Loss/r1_penalty": r1, "Loss/D/reg": r1 * options.gamma / 2}
    arrays = {f"{phase}/metric/{n}": np.mean(v) for phase, values in metrics.items() for n, v in values.items()}
    for phase in ("G", "D", "R1") if options.gamma else ("G", "D"):
        variable = watched[phase]
        model = G if phase == "G" else D
        name = next(n for n, v in named(model.trainable_variables).items() if v is variable)
        arrays[f"{phase}/{name}"] = tape.gradient(total[phase], variable.value).numpy()
    return arrays


def shifted(latents: Arrays, shift: int) -> Arrays:
    return {**latents, "label": np.roll(latents["label"], shift, axis=0)}


def save_plain(state: TrainState, options: Options, strategy: tf.distribute.Strategy, folder: Path) -> None:
    """Saves the state without the recorder's slots, which come last in the optimizers' variables."""
    plain = TrainState(options, strategy)
    for part in PARTS:
        for target, source in zip(getattr(plain, part).variables, getattr(state, part).variables, strict=False):
            target.assign(source.value)
    plain.cur_nimg, plain.step = state.cur_nimg, state.step
    plain.save(folder)


def steps(run: dict[str, Any], data: str, strategy: tf.distribute.Strategy) -> Arrays:
    """All variants of one run."""
    result: Arrays = {}
    recorder = None
    start = Path(run["start"])
    for variant, values in run["variants"].items():
        options = tiny_run.options(data, **run["options"], batch_per_replica=values["batch_per_replica"])
        dataset = open_dataset(data, use_labels=options.cond)
        draws = ReorderedDraws(dataset, options.batch, options.generator().z_dim, options.seed)
        draws.order = values["order"]
        images, labels = (array[draws.order] for array in next(batches(dataset, options.batch, seed=options.seed)))
        if recorder is None:
            state = TrainState(options, strategy)
            with strategy.scope():
                if not start.exists():
                    like_trained(state.G, **draws.latents("grid", 0))
                    state.G_ema.set_weights(state.G.get_weights())
                    state.save(start)
                state.restore(start)
                recorder = Recorder(state)
            arrays = {f"start/{name}": value for name, value in recorder.start.items()}
            if strategy.num_replicas_in_sync == 1:
                for name, shift in (("direct", 0), ("shifted", 1)):
                    found = direct(state, options, draws, (images, labels), shift)
                    arrays |= {f"{name}/{n}": value for n, value in found.items()}
                    recorder.reset()
        with contextlib.nullcontext() if values["graph"] else mock.patch.object(tf, "function", lambda f: f):
            stepper = TrainStep(state, options, strategy, draws)
        arrays |= phases_alone(recorder, stepper, lambda s=stepper, i=images, c=labels: s.run((i, c)))
        metrics = stepper.run((images, labels))
        arrays |= {f"metric/{name}": stats.mean(value).numpy() for name, value in metrics.items()}
        for name, variable in of_parts(state).items():
            arrays[f"end/{name}"], arrays[f"apart/{name}"] = variable.numpy(), apart(variable)
        result |= {f"{variant}/{name}": value for name, value in arrays.items()}
        if run["end"]:
            save_plain(state, options, strategy, Path(run["end"]))
            shown = state.G_ema(draws.latents("grid", 0)).numpy()  # outside the scope, as for the image grids
            result[f"{variant}/shown"] = shown
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
