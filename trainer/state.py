"""State of a training run, and its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from sg3tf import Discriminator, build_generator
from sg3tf.utils.files import atomic_directory, verify_checksums, write_checksums
from trainer._keras_private import PresummedAdam
from trainer.augment import Augment, Controller
from trainer.config import Options
from trainer.errors import OptionError, TrainingError, summarize_error
from trainer.losses import Regularization

ADAM_BETA2 = 0.99
ADAM_EPSILON = 1e-8

PROGRESS = "progress.json"


class TrainState:
    """Networks, optimizers, the moving average of G, and everything else that training changes.

    Args:
        options: options of the run.
        strategy: strategy that holds the variables; default: the current one.

    Attributes:
        G, D: the networks in training.
        G_ema: moving average of G, for users; computes in float32.
        g_optimizer, d_optimizer: optimizers of G and D.
        augment: augmentation of the discriminator's images; None without.
        controller: probability of the augmentation.
        regularization: weights of the penalties.
        pl_mean: moving average of path lengths.
        cur_nimg: real images that the run has seen.
        step: steps that the run has made.
        best: {metric: (value, cur_nimg)} of the best snapshot.
    """

    def __init__(self, options: Options, strategy: tf.distribute.Strategy | None = None) -> None:
        self._strategy = strategy or tf.distribute.get_strategy()
        self.augment = None if options.aug == "noaug" else Augment(options.augpipe)
        self.regularization = Regularization(options.gamma, options.r1_interval, options.pl_weight, options.pl_interval)
        # Outside the scope: it sees metrics of the global batch, the same in every worker.
        self.controller = Controller(
            options.batch,
            heuristic=options.ada_heuristic,
            target=options.target,
            kimg=options.ada_kimg,
            probability=options.p,
        )
        with self._strategy.scope():
            keras.utils.set_random_seed(options.seed)
            self.G = build_generator(options.generator(), dtype=options.policy)
            self.D = Discriminator(options.discriminator(), dtype=options.policy)
            self.G_ema = build_generator(options.generator())
            self.G_ema.set_weights(self.G.get_weights())
            freeze(self.D, options.freezed)
            self.g_optimizer = lazy_adam(options.glr, options.pl_interval if options.pl_weight else None)
            self.d_optimizer = lazy_adam(options.dlr, options.r1_interval if options.gamma else None)
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
        """Write a checkpoint atomically.

        Raises:
            TrainingError: the folder cannot be written; one that was there is unchanged.
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
        """Read a checkpoint, except for the learning rates, which stay those of the options.

        Raises:
            OptionError: the checkpoint is missing, damaged, or of another architecture.
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
    """Freeze the first `count` convolutions, counted from the image (Freeze-D, arXiv 2002.10964)."""
    blocks = [layer for block in D.blocks for layer in (block.conv0, block.conv1, block.skip) if layer is not None]
    for layer in [D.fromrgb, *blocks][:count]:
        layer.trainable = False


def lazy_adam(learning_rate: float, interval: int | None) -> keras.optimizers.Adam:
    """Adam without momentum, adapted to lazy regularization (arXiv 1912.04958, appendix B).

    Args:
        learning_rate: of a network without lazy regularization.
        interval: steps from one regularization to the next, which is an additional step; None without.
    """
    share = 1.0 if interval is None else interval / (interval + 1)
    return PresummedAdam(learning_rate * share, 0.0, ADAM_BETA2**share, ADAM_EPSILON)
