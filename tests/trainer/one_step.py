"""One training step in a process of its own, as a process can have one strategy; everything it did goes to an npz.

Usage: python -m tests.trainer.one_step SPEC, a JSON file:
    {"strategy": "cpu:2", "data": folder, "out": file.npz, "options": {...}, "order": [...], "starting_steps": 0}
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data import batches, open_dataset
from trainer.devices import make_strategy
from trainer.draws import Draws
from trainer.options import Options
from trainer.state import TrainState
from trainer.step import Stepper

Arrays = dict[str, NDArray[Any]]


class ReorderedDraws(Draws):
    """The draws of a run, with the images of a batch in another order."""

    def __init__(self, *args: Any, order: list[int]) -> None:
        super().__init__(*args)
        self.order = order

    def latents(self, purpose: str, cur_nimg: int, count: int | None = None) -> Arrays:
        return {name: value[self.order] for name, value in super().latents(purpose, cur_nimg, count).items()}


def named(variables: Any) -> dict[str, Any]:
    """{number and path: variable}: paths alone need not be unique."""
    return {f"{index:03d}.{variable.path}": variable for index, variable in enumerate(variables)}


class Recorder:
    """Runs steps of a Stepper and keeps what every phase read and wrote.

    Arrays: PHASE/gradient/VARIABLE, PHASE/metric/NAME, PHASE/moved/VARIABLE (1 where G's statistics changed).
    """

    def __init__(self, state: TrainState, stepper: Stepper) -> None:
        self.state, self.stepper = state, stepper
        self.arrays: Arrays = {}
        self.alone = True  # every phase begins with the starting weights
        self._slots = {
            "G": _record_gradients(state.g_optimizer, state.G),
            "D": _record_gradients(state.d_optimizer, state.D),
        }
        self._start = {name: v.numpy() for name, v in self.variables().items()}
        stepper._phases = {name: self._wrapped(name, phase) for name, phase in stepper._phases.items()}

    def variables(self) -> dict[str, Any]:
        owners = ("G", "D", "G_ema", "g_optimizer", "d_optimizer")
        return {f"{o}/{n}": v for o in owners for n, v in named(getattr(self.state, o).variables).items()}

    def reset(self) -> None:
        self.state.cur_nimg = self.state.step = 0
        for name, variable in self.variables().items():
            variable.assign(self._start[name])

    def _wrapped(self, name: str, phase: Callable[[Arrays], dict[str, tf.Tensor]]) -> Any:
        def run(arrays: Arrays) -> dict[str, tf.Tensor]:
            if not self.alone:
                return phase(arrays)
            self.reset()
            metrics = phase(arrays)
            for metric, value in metrics.items():
                self.arrays[f"{name}/metric/{metric}"] = value.numpy()
            for variable, gradient in self._slots[name[0] if name != "R1" else "D"].items():
                self.arrays[f"{name}/gradient/{variable}"] = gradient.numpy()
            for statistic, value in named(self.state.G.non_trainable_variables).items():
                moved = value.numpy() != self._start[f"G/{self._index(value)}"]
                self.arrays[f"{name}/moved/{statistic}"] = np.mean(moved)
            return metrics

        return run

    def _index(self, variable: Any) -> str:
        return next(n for n, v in named(self.state.G.variables).items() if v is variable)


def _record_gradients(optimizer: Any, model: Any) -> dict[str, Any]:
    """{variable: slot that holds the gradient, summed over replicas, that the optimizer last applied}."""
    slots = optimizer.add_optimizer_variables(model.trainable_variables, "applied")
    plain = optimizer.update_step

    def update_step(gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        optimizer.assign(slots[optimizer._get_variable_index(variable)], gradient)
        plain(gradient, variable, learning_rate)

    optimizer.update_step = update_step
    return dict(zip(named(model.trainable_variables), slots, strict=True))


def main(spec: dict[str, Any]) -> None:
    strategy = make_strategy(spec["strategy"])
    dataset = open_dataset(spec["data"], use_labels=spec["options"].get("cond", False))
    options = Options(
        data=spec["data"],
        data_name=dataset.name,
        resolution=dataset.resolution,
        image_channels=dataset.channels,
        num_images=len(dataset),
        label_dim=dataset.label_dim,
        **spec["options"],
    )
    with strategy.scope():
        state = TrainState(options)
    draws = ReorderedDraws(dataset, options.batch, options.generator().z_dim, options.seed, order=spec["order"])
    stepper = Stepper(state, options, strategy, draws)
    with strategy.scope():
        recorder = Recorder(state, stepper)
    images, labels = (a[spec["order"]] for a in next(batches(dataset, options.batch, seed=options.seed)))
    import time
    t=time.time()
    stepper.run(images, labels)  # each phase alone
    print(time.time()-t); t=time.time()
    recorder.alone = False
    recorder.reset()
    metrics = stepper.run(images, labels)
    print(time.time()-t)
    arrays = recorder.arrays
    arrays |= {f"step/metric/{name}": value.numpy() for name, value in metrics.items()}
    arrays |= {f"start/{name}": value for name, value in recorder._start.items()}
    arrays |= {f"end/{name}": v.numpy() for name, v in recorder.variables().items()}
    np.savez(spec["out"], **arrays)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
