"""Export networks and their training phases as StableHLO, for a machine with a GPU and JAX but no TensorFlow.

python custom_ops/gpu/export_programs.py --out=build/gpu_programs

Runs here, with TensorFlow and the native library for XLA. Small networks come with TensorFlow's results on this CPU,
for run_programs.py to compare with. programs.json lists the programs in order of value.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from custom_ops.gpu import stablehlo
from custom_ops.gpu.networks import NETWORKS, Network, State, phase_function, phase_inputs, pixels
from custom_ops.gpu.program_set import Argument, Entry, Expected, ProgramSet
from sg3tf.ops import use_backend

LARGE = 20_000  # elements; larger arrays are drawn rather than stored
#: (networks, backends) in order of value.
WORTH = (
    (("t32", "r32", "sg2_32"), ("native", "xla")),
    (("t256", "r256", "t1024"), ("native",)),
    (("t256", "r256", "t1024"), ("xla",)),
    (("t256", "r256", "t1024"), ("matmul",)),
)
# One rounding is a relative change of at most 2^-24. The roundings of a sum of n terms together are about as large as
# sqrt(n) of them. Convolutions sum 16 to 4608 products, their gradients up to 2 * 52^2 pixels, so sqrt(n) < 75.
ROUNDING = 75 * 2.0**-24
DRAWS = 8  # of perturbed weights, because a sample may cross the kink of a leaky ReLU in one but not in another
MARGIN = 2  # other roundings may be somewhat worse than the worst draw


class Exporter:
    """Exports the programs of one network after another.

    Args:
        programs: folder to which programs are added.
    """

    def __init__(self, programs: ProgramSet) -> None:
        self.programs = programs
        self._states: dict[str, tuple[State, dict[Any, Argument]]] = {}
        self._results: dict[str, tuple[Expected, ...]] = {}

    def export(self, name: str, phase: str, backend: str) -> None:
        """Export a phase of a network."""
        network = NETWORKS[name]
        state, weights = self._state(name, network)
        function, inputs = phase_function(state, phase), phase_inputs(network, state, phase)
        exported = stablehlo.export(function, inputs, backend=backend)
        arguments = [self._input(f"{name}_{phase}_input{i}", value) for i, value in enumerate(nonempty(inputs))]
        for index, value in enumerate(exported.captured):
            if isinstance(value, tf.Variable):
                arguments.append(weights[value.ref()])
            else:
                arguments.append(self.programs.store(f"{name}_{phase}_{backend}_constant{index}", value.numpy()))
        expected = self._expected(f"{name}_{phase}", state, function, inputs, exported.updated)
        labels = {"network": name, "phase": phase, "backend": backend, "dtype": network.dtype}
        images = network.batch // 2 if phase == "PL" else network.batch
        entry = Entry(f"{name}_{phase}_{backend}", images, tuple(arguments), expected, labels)
        self.programs.add(entry, exported.text)
        print(f"{entry.name}: {len(exported.text)} characters, {len(arguments)} arguments", flush=True)

    def _state(self, name: str, network: Network) -> tuple[State, dict[Any, Argument]]:
        """Return a network with drawn weights, and these weights as arguments."""
        if name not in self._states:
            self._states.clear()  # one at a time in memory
            state, weights = State(network), {}
            for index, variable in enumerate(state.variables):
                argument = self._weight(f"{name}_weight{index}", variable.numpy(), seed=1000 + index)
                variable.assign(argument.value(self.programs.stored))
                weights[variable.ref()] = argument
            self._states[name] = state, weights
        return self._states[name]

    def _weight(self, name: str, value: NDArray[Any], seed: int) -> Argument:
        if value.size <= LARGE:
            return self.programs.store(name, value)
        return Argument(shape=value.shape, seed=seed, scale=float(value.std()))

    def _input(self, name: str, value: NDArray[Any]) -> Argument:
        if value.dtype == np.uint8:
            return pixels(value.shape)
        return self.programs.store(name, value)

    def _expected(
        self, name: str, state: State, function: Any, inputs: Any, updated: list[tf.Variable]
    ) -> tuple[Expected, ...]:
        """Return the results of TensorFlow here, computed once for all backends."""
        if state.G.dtype_policy.name != "float32":
            return ()
        if name not in self._results:
            self._results[name] = tuple(
                Expected(self.programs.store(f"{name}_result{index}", result), limit)
                for index, (result, limit) in enumerate(results_and_limits(state, function, inputs, updated))
            )
        return self._results[name]


def nonempty(inputs: Any) -> list[NDArray[Any]]:
    """Return the inputs that a program takes."""
    return [np.asarray(value) for value in tf.nest.flatten(inputs) if value.size]


def results_and_limits(
    state: State, function: Any, inputs: Any, updated: list[tf.Variable]
) -> list[tuple[NDArray[Any], float]]:
    """Return the results of a phase and the new values of `updated`, each with the change that rounding can cause.

    The limits come from results for weights that are perturbed by as much as rounding would.
    """
    tensors = tf.nest.map_structure(tf.constant, inputs)
    before = [variable.numpy() for variable in state.variables]
    random = np.random.RandomState(0)

    with use_backend("native"):
        compiled = tf.function(function, autograph=False)

        def results(perturbation: float) -> list[NDArray[Any]]:
            for variable, value in zip(state.variables, before, strict=True):
                noise = random.standard_normal(value.shape).astype(np.float32)
                variable.assign(value * (1 + perturbation * noise))
            flat = tf.nest.flatten(compiled(tensors))
            return [value.numpy() for value in [*flat, *updated]]

        exact = results(0)
        perturbed = [results(ROUNDING) for _ in range(DRAWS)]
    for variable, value in zip(state.variables, before, strict=True):
        variable.assign(value)

    def limit(index: int) -> float:
        change = max(float(np.linalg.norm(draw[index] - exact[index])) for draw in perturbed)
        return MARGIN * max(change, ROUNDING * float(np.linalg.norm(exact[index])))

    return [(result, limit(index)) for index, result in enumerate(exact)]


def programs() -> dict[str, tuple[str, str, str]]:
    """Return the programs, {name: (network, phase, backend)}, in order of value."""
    listed = {}
    for names, backends in WORTH:
        for name in names:
            for phase in NETWORKS[name].phases:
                for backend in backends:
                    listed[f"{name}_{phase}_{backend}"] = (name, phase, backend)
    return listed


def main() -> None:
    """Export all programs, or those that match --only."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="new folder for the programs")
    parser.add_argument("--only", default="", help="regular expression: programs whose names match")
    args = parser.parse_args()
    exporter = Exporter(ProgramSet(args.out))
    for name, (network, phase, backend) in programs().items():
        if re.search(args.only, name):
            exporter.export(network, phase, backend)
    exporter.programs.save()


if __name__ == "__main__":
    main()
