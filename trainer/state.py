"""Everything that training changes, and its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from sg3tf import Discriminator, build_generator
from sg3tf.utils.files import atomic_directory, verify_checksums, write_checksums
from trainer.augment import Controller
from trainer.config import Options
from trainer.errors import OptionError, TrainingError, summarize_error

ADAM_BETA2 = 0.99
ADAM_EPSILON = 1e-8

PROGRESS = "progress.json"


class TrainState:
    """Networks, their optimizers, the moving average of G, what regularisation remembers, and how far it all is.

    Args:
        options: of the run.
        strategy: where the networks live; default: the current one.

    Attributes:
        G, D, G_ema, g_optimizer, d_optimizer: as their names say; G_ema computes in float32, being for users.
        pl_mean: moving average of path lengths.
        controller: of the probability of augmentation.
        cur_nimg, step: images shown and steps made so far.
        best: {metric: (value, cur_nimg)} of the best snapshot so far.
    """

    def __init__(self, options: Options, strategy: tf.distribute.Strategy | None = None) -> None:
        self._strategy = strategy or tf.distribute.get_strategy()
        # Outside the scope: it sees metrics of the global batch, the same in every worker.
        self.controller = _controller(options)
        with self._strategy.scope():
            keras.utils.set_random_seed(options.seed)
            self.G = build_generator(options.generator(), dtype=options.policy)
            self.D = Discriminator(options.discriminator(), dtype=options.policy)
            self.G_ema = build_generator(options.generator())
            self.G_ema.set_weights(self.G.get_weights())
            freeze(self.D, options.freezed)
            self.g_optimizer = _adam(options.glr, lazy_interval=options.pl_interval if options.pl_weight else None)
            self.d_optimizer = _adam(options.dlr, lazy_interval=options.r1_interval if options.gamma else None)
            self.g_optimizer.build(self.G.trainable_variables)
            self.d_optimizer.build(self.D.trainable_variables)
            self.pl_mean = tf.Variable(0.0, trainable=False, aggregation=tf.VariableAggregation.MEAN, name="pl_mean")
        self.cur_nimg = 0
        self.step = 0
        self.best: dict[str, tuple[float, int]] = {}

    def _checkpoint(self) -> tf.train.Checkpoint:
        # By variable: tf.train.Checkpoint does not see the layers that a Keras model keeps in lists, and would
        # silently leave them out.
        parts = ("G", "D", "G_ema", "g_optimizer", "d_optimizer")
        by_part = {part: [v.value for v in getattr(self, part).variables] for part in parts}
        return tf.train.Checkpoint(**by_part, pl_mean=self.pl_mean, augment=self.controller.variables)

    def save(self, folder: Path) -> None:
        """Writes the folder, whole or not at all.

        Raises:
            TrainingError: it cannot be written; what was there is as before.
        """
        try:
            with atomic_directory(folder, replace=True) as partial:
                self._checkpoint().write(str(partial / "state"))
                self.G_ema.save(partial / "generator.keras")
                (partial / PROGRESS).write_text(json.dumps(self._progress()) + "\n")
                write_checksums(partial)
        except (OSError, tf.errors.OpError) as error:
            raise TrainingError(f"{folder}: cannot be written ({summarize_error(error)})") from error

    def _progress(self) -> dict[str, Any]:
        return {"cur_nimg": self.cur_nimg, "step": self.step, "best": self.best}

    def restore(self, folder: Path) -> None:
        """Read what `save` wrote, except for the learning rates, which stay those of the options.

        Raises:
            OptionError: missing, damaged, or of another architecture.
        """
        if (problem := verify_checksums(folder)) is not None:
            raise OptionError(f"{folder}: cannot be restored ({problem})")
        optimizers = (self.g_optimizer, self.d_optimizer)
        learning_rates = [optimizer.learning_rate.numpy() for optimizer in optimizers]
        try:
            progress = json.loads((folder / PROGRESS).read_text())
            cur_nimg, step = int(progress["cur_nimg"]), int(progress["step"])
            best = {name: (float(value), int(at)) for name, (value, at) in dict(progress["best"]).items()}
            self._checkpoint().read(str(folder / "state")).assert_consumed()
        except (OSError, ValueError, TypeError, LookupError, AssertionError, tf.errors.OpError) as error:
            raise OptionError(f"{folder}: cannot be restored ({summarize_error(error)})") from error
        with self._strategy.scope():  # the checkpoint's rates are those of the interrupted run; the options may differ
            for optimizer, learning_rate in zip(optimizers, learning_rates, strict=True):
                optimizer.learning_rate = learning_rate
        self.cur_nimg, self.step, self.best = cur_nimg, step, best


def freeze(D: Discriminator, count: int) -> None:
    """Keeps the first `count` convolutions, counted from the image, as they are (Freeze-D, arXiv 2002.10964)."""
    blocks = [layer for block in D.blocks for layer in (block.conv0, block.conv1, block.skip) if layer is not None]
    for layer in [D.fromrgb, *blocks][:count]:
        layer.trainable = False


def _controller(options: Options) -> Controller:
    return Controller(
        options.batch,
        heuristic=options.ada_heuristic,
        target=options.target,
        kimg=options.ada_kimg,
        probability=options.p,
    )


class Adam(keras.optimizers.Adam):
    """Adam for gradients that are summed over replicas already, so that their health could be seen."""

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars


def _adam(learning_rate: float, lazy_interval: int | None) -> Adam:
    """Adam without momentum; lazy regularisation adds steps, so each counts for less (arXiv 1912.04958, appendix B)."""
    share = 1.0 if lazy_interval is None else lazy_interval / (lazy_interval + 1)
    return Adam(learning_rate * share, 0.0, ADAM_BETA2**share, ADAM_EPSILON)
