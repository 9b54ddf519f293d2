"""State of a training run, and its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from sg3tf import Discriminator, build_generator
from sg3tf.models import power_ema
from sg3tf.models.run_folder import PROGRESS
from sg3tf.utils.checksums import verify_checksums
from sg3tf.utils.error_text import first_line
from sg3tf.utils.files import literal_folder
from trainer.adam import Adam, lazy_adam
from trainer.augment.controller import Controller
from trainer.augment.pipeline import Augment
from trainer.checkpoint import SpareGenerator, StateCopy
from trainer.config import Options
from trainer.errors import OptionError
from trainer.losses import Regularization

FORMAT = 2  # of a checkpoint; format 1, which is not recorded, has the variables of keras.optimizers.Adam


OPTIMIZERS = ("g_optimizer", "d_optimizer")
PARTS = ("G", "D", "G_ema", *OPTIMIZERS)

UPDATE_NOTE = (
    "note: this checkpoint predates the published update: from here on, Adam, the updates of each phase, the average, "
    "--aug=ada and the real scores follow docs/adr/0025-published-update.md"
)


class TrainState:
    """Networks, optimizers, the moving average of G, and everything else that training changes.

    Args:
        options: options of the run.
        strategy: strategy that holds the variables; default: the current one.

    Raises:
        OptionError: the batch is not a multiple of batch_per_replica times the number of replicas.

    Attributes:
        G, D: the networks in training.
        G_ema: moving average of G, the network to use; computes in float32.
        power_emas: {sigma_rel: average of G} for post-hoc averages; empty without.
        g_optimizer, d_optimizer: optimizers of G and D.
        augment: augmentation of the discriminator's images; None without.
        controller: probability of the augmentation.
        regularization: weights of the penalties.
        pl_mean: moving average of path lengths.
        lecam_means: moving averages of the logits of real and of generated images; None without --lecam.
        cur_nimg: number of real images seen.
        step: number of steps trained.
    """

    def __init__(self, options: Options, strategy: tf.distribute.Strategy | None = None) -> None:
        self._strategy = strategy or tf.distribute.get_strategy()
        self.augment = Augment(options.augpipe) if options.aug in ("fixed", "ada") else None
        parts = options.num_accumulation_steps(self._strategy.num_replicas_in_sync)
        self.regularization = Regularization(
            options.gamma, options.r1_interval, options.pl_weight, options.pl_interval, options.lecam, parts
        )
        # Outside the scope: its inputs are metrics of the global batch, the same in every worker.
        self.controller = Controller(
            options.batch,
            heuristic=options.ada_heuristic,
            target=options.target,
            kimg=options.ada_kimg,
            probability=options.p,
            aug=options.aug,
        )
        with self._strategy.scope():
            keras.utils.set_random_seed(options.seed)
            self.G = build_generator(options.generator(), dtype=options.policy)
            self.D = Discriminator(options.discriminator(), dtype=options.policy)
            self.G_ema = build_generator(options.generator(), dtype="float32")
            self.G_ema.set_weights(self.G.get_weights())
            self._spare = SpareGenerator(self.G_ema)
            widths = power_ema.TRACKED if options.posthoc_ema else ()
            self.power_emas = {s: build_generator(options.generator(), dtype="float32") for s in widths}
            freeze(self.D, options.freezed)
            self.g_optimizer = lazy_adam(options.glr, options.pl_interval if options.pl_weight else None, parts)
            self.d_optimizer = lazy_adam(options.dlr, options.r1_interval if options.gamma else None, parts)
            self.g_optimizer.build(self.G.trainable_variables)
            self.d_optimizer.build(self.D.trainable_variables)
            self.pl_mean = tf.Variable(0.0, trainable=False, aggregation=tf.VariableAggregation.MEAN, name="pl_mean")
            self.lecam_means = None
            if options.lecam:
                mean = tf.VariableAggregation.MEAN
                self.lecam_means = tf.Variable([0.0, 0.0], trainable=False, aggregation=mean, name="lecam_means")
        self.cur_nimg = 0
        self.step = 0

    def _variables(self, format: int = FORMAT) -> dict[str, Any]:
        """Variables of a checkpoint: {part: variable, or list of them}."""
        # By variable, because parts of the state are not models, and so that names of layers may change.
        by_part: dict[str, Any] = {part: [v.value for v in getattr(self, part).variables] for part in PARTS}
        if format == 1:
            for part in OPTIMIZERS:
                by_part[part] = _as_keras_adam(getattr(self, part))
        if self.power_emas:
            by_part["power_emas"] = [v.value for model in self.power_emas.values() for v in model.variables]
        if self.lecam_means is not None:
            by_part["lecam_means"] = self.lecam_means
        return {**by_part, "pl_mean": self.pl_mean, "augment": self.controller.variables}

    def copy(self) -> StateCopy:
        """Copy the content of a checkpoint to host memory, to be written while training continues."""
        return StateCopy(self._variables(), self._spare, self._progress())

    def save(self, folder: Path) -> None:
        """Write a checkpoint atomically.

        Raises:
            TrainingError: the folder cannot be written; an existing one is unchanged.
        """
        self.copy().write(folder)

    def _progress(self) -> dict[str, Any]:
        return {"format": FORMAT, "cur_nimg": self.cur_nimg, "step": self.step}

    def restore(self, folder: Path) -> list[str]:
        """Read a checkpoint, except for the learning rates, which remain those of the options.

        Returns:
            Lines for the log about what an older checkpoint lacks.

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
            format = int(progress.get("format", 1))
            with literal_folder(folder) as literal:
                status = tf.train.Checkpoint(**self._variables(format)).read(str(literal / "state"))
            if format == 1:
                status.assert_existing_objects_matched()
            else:
                status.assert_consumed()
        except (OSError, ValueError, TypeError, LookupError, AssertionError, tf.errors.OpError) as error:
            raise OptionError(f"{folder}: cannot be restored ({first_line(error)})") from error
        with self._strategy.scope():  # the checkpoint's rates are those of the interrupted run; the options may differ
            for optimizer, learning_rate in zip(optimizers, learning_rates, strict=True):
                optimizer.learning_rate = learning_rate
                if format == 1:  # all variables have the same number of updates
                    optimizer.counts.assign(tf.fill(optimizer.counts.shape, tf.cast(optimizer.iterations, tf.int64)))
        self.cur_nimg, self.step = cur_nimg, step
        return [UPDATE_NOTE] if format == 1 else []


def freeze(D: Discriminator, count: int) -> None:
    """Freeze the first `count` convolutions, counted from the image (Freeze-D, arXiv 2002.10964)."""
    blocks = [layer for block in D.blocks for layer in (block.conv0, block.conv1, block.skip) if layer is not None]
    for layer in [D.fromrgb, *blocks][:count]:
        layer.trainable = False


def _as_keras_adam(optimizer: Adam) -> dict[str, tf.Variable]:
    """{position in a checkpoint of keras.optimizers.Adam: variable}.

    The order was: the number of updates, the learning rate, and for each variable the momentum, which is not used, and
    the velocity.
    """
    count, learning_rate = optimizer.variables[:2]
    velocities = {str(2 * i + 3): velocity.value for i, velocity in enumerate(optimizer.velocities)}
    return {"0": count.value, "1": learning_rate.value, **velocities}
