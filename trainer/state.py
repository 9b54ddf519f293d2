"""Everything that training changes, and its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import tensorflow as tf

from sg3tf import Discriminator, Generator
from sg3tf.atomic import whole_folder
from trainer.options import OptionError, Options

ADAM_BETA2 = 0.99
ADAM_EPSILON = 1e-8


class TrainState:
    """Networks, their optimizers, the moving average of G, and the number of images shown so far.

    Create it inside the strategy's scope.
    """

    def __init__(self, options: Options) -> None:
        keras.utils.set_random_seed(options.seed)
        self.G = Generator(options.generator())
        self.D = Discriminator(options.discriminator())
        self.G_ema = Generator(options.generator())
        self.G_ema.set_weights(self.G.get_weights())
        self.g_optimizer = _adam(options.glr, lazy_interval=None)
        self.d_optimizer = _adam(options.dlr, lazy_interval=options.r1_interval if options.gamma else None)
        self.g_optimizer.build(self.G.trainable_variables)
        self.d_optimizer.build(self.D.trainable_variables)
        self.cur_nimg = 0
        self.step = 0

    def _checkpoint(self) -> tf.train.Checkpoint:
        # By variable: tf.train.Checkpoint does not see the layers that a Keras model keeps in lists, and would
        # silently leave them out.
        parts = ("G", "D", "G_ema", "g_optimizer", "d_optimizer")
        return tf.train.Checkpoint(**{part: [v.value for v in getattr(self, part).variables] for part in parts})

    def save(self, folder: Path) -> None:
        """Writes the folder, whole or not at all."""
        with whole_folder(folder, replace=True) as partial:
            self._checkpoint().write(str(partial / "state"))
            self.G_ema.save(partial / "generator.keras")
            (partial / "progress.json").write_text(json.dumps({"cur_nimg": self.cur_nimg, "step": self.step}) + "\n")

    def restore(self, folder: Path) -> None:
        """Reads what `save` wrote.

        Raises:
            OptionError: missing, damaged, or of another architecture.
        """
        try:
            progress = json.loads((folder / "progress.json").read_text())
            cur_nimg, step = int(progress["cur_nimg"]), int(progress["step"])
            self._checkpoint().read(str(folder / "state")).assert_consumed()
        except (OSError, ValueError, TypeError, LookupError, AssertionError, tf.errors.OpError) as error:
            raise OptionError(f"{folder}: cannot be restored ({_first_line(error)})") from error
        self.cur_nimg, self.step = cur_nimg, step


def _adam(learning_rate: float, lazy_interval: int | None) -> keras.optimizers.Adam:
    """Adam without momentum; lazy regularisation adds steps, so each counts for less (arXiv 1912.04958, appendix B)."""
    share = 1.0 if lazy_interval is None else lazy_interval / (lazy_interval + 1)
    return keras.optimizers.Adam(learning_rate * share, 0.0, ADAM_BETA2**share, ADAM_EPSILON)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
