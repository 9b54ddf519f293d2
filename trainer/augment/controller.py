"""How often to augment: from how much the discriminator overfits (arXiv 2006.06676, section 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import tensorflow as tf

#: Images, in thousands, in which p gets from 0 to 1 where it only rises.
KIMG = 500.0
#: For a run that starts from a model: its discriminator may overfit from the beginning.
KIMG_FROM_MODEL = 100.0
INTERVAL = 4
TARGET = 0.6

#: The metrics of a step that a heuristic of the paper's equation 1 is made of.
SOURCES = {
    "rt": ("Loss/signs/real",),
    "rv": ("Loss/scores/real", "Loss/scores/validation", "Loss/scores/fake"),
}


class Controller:
    """Moves the probability of augmentation by a fixed amount so that a measure of overfitting stays at its target.

    r_t = E[sign(D(train))] is the share of training images that D takes for real less that of the others;
    r_v = (E[D(train)] - E[D(validation)]) / (E[D(train)] - E[D(generated)]) is 0 where D tells held-out images from
    generated ones as well as it does training images, and 1 where it takes them for generated.

    Create it outside the strategy's scope: it sees metrics of the global batch, the same in every worker.

    Args:
        batch: images of a step.
        heuristic: "rt" or "rv"; the latter needs logits of held-out images.
        target: of the heuristic.
        kimg: thousands of images in which p can get from 0 to 1.
        interval: steps between two changes of p.
        probability: p to begin with.

    Raises:
        ValueError: naming the argument, its value and the remedy.
    """

    def __init__(
        self,
        batch: int,
        *,
        heuristic: str = "rt",
        target: float = TARGET,
        kimg: float = KIMG,
        interval: int = INTERVAL,
        probability: float = 0.0,
    ) -> None:
        _check(batch, heuristic, target, kimg, interval, probability)
        self.heuristic, self.target = heuristic, target
        self.batch, self.interval = batch, interval
        self.sources = SOURCES[heuristic]
        self._move = batch * interval / (kimg * 1000)
        # Where the metrics are, so that adding them waits for nothing.
        self._sums = tf.Variable(tf.zeros([len(self.sources)]), trainable=False, name="ada_sums")
        with tf.device("CPU:0"):  # read in every step, so not behind the device's queue
            self._counts = tf.Variable(tf.zeros([len(self.sources)], tf.int64), trainable=False, name="ada_counts")
            self._steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="ada_steps")
            self._p = tf.Variable(probability, dtype=tf.float64, trainable=False, name="ada_p")
            self._overfitting = tf.Variable(math.nan, dtype=tf.float64, trainable=False, name="ada_overfitting")
            self._saturated_nimg = tf.Variable(0, dtype=tf.int64, trainable=False, name="ada_saturated_nimg")

    @property
    def variables(self) -> list[tf.Variable]:
        """Everything that a checkpoint has to hold for the next step to be the same."""
        return [self._sums, self._counts, self._steps, self._p, self._overfitting, self._saturated_nimg]

    @property
    def probability(self) -> float:
        return float(self._p.numpy())

    @property
    def overfitting(self) -> float:
        """The heuristic when p last moved; not a number before."""
        return float(self._overfitting.numpy())

    @property
    def warning(self) -> str | None:
        """What is wrong while p has been stuck at 1 for long enough to have fallen, and what helps."""
        if self._saturated_nimg.numpy() < 10 * self.batch * self.interval:
            return None
        return (
            f"augmentation is saturated: p is 1 since {self._saturated_nimg.numpy() / 1000:.1f} kimg, and r_"
            f"{self.heuristic[1]} = {self.overfitting:.2f} still above --target={self.target:g}: the discriminator "
            "overfits all the same. Use more data, --mirror, a larger --gamma or a wider --augpipe"
        )

    def metrics(self) -> dict[str, float]:
        """For the log: p, and the heuristic once there is one."""
        values = {"Progress/augment": self.probability, f"Progress/r_{self.heuristic[1]}": self.overfitting}
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def observe(self, metrics: Mapping[str, tf.Tensor | float]) -> None:
        """Takes in the metrics of one step; after every `interval` of them p moves.

        Logits of held-out images may come in some of the steps only.

        Raises:
            ValueError: one of those that the heuristic needs did not come in a whole interval.
        """
        present = [name in metrics for name in self.sources]
        values = [tf.cast(metrics.get(name, 0.0), tf.float32) for name in self.sources]
        self._sums.assign_add(tf.stack(values))
        with tf.device("CPU:0"):
            self._counts.assign_add(tf.cast(present, tf.int64))
            steps = self._steps.assign_add(1)
        if int(steps.numpy()) % self.interval == 0:
            self._adjust()

    def _adjust(self) -> None:
        for name, count in zip(self.sources, self._counts.numpy(), strict=True):
            if count == 0:
                raise ValueError(
                    f"no {name!r} among the metrics of {self.interval} steps: r_{self.heuristic[1]} needs it"
                )
        overfitting = self._measure([s / c for s, c in zip(self._sums.numpy(), self._counts.numpy(), strict=True)])
        self._sums.assign(tf.zeros_like(self._sums))
        self._counts.assign(tf.zeros_like(self._counts))
        self._overfitting.assign(overfitting)
        if math.isfinite(overfitting):  # a bad step tells nothing about overfitting
            direction = (overfitting > self.target) - (overfitting < self.target)
            self._p.assign(min(max(self.probability + direction * self._move, 0.0), 1.0))
        at_most = self.probability >= 1
        self._saturated_nimg.assign(self._saturated_nimg + self.batch * self.interval if at_most else 0)

    def _measure(self, means: list[float]) -> float:
        if self.heuristic == "rt":
            return float(means[0])
        train, validation, fake = (float(mean) for mean in means)
        return (train - validation) / (train - fake) if train != fake else math.nan


def _check(batch: int, heuristic: str, target: float, kimg: float, interval: int, probability: float) -> None:
    if heuristic not in SOURCES:
        raise ValueError(f"heuristic={heuristic!r}: choose from {', '.join(SOURCES)}")
    for name, value in {"batch": batch, "kimg": kimg, "interval": interval}.items():
        if not value > 0:
            raise ValueError(f"{name}={value}: must be greater than 0")
    if not -1 <= target <= 1:
        raise ValueError(f"target={target}: must be from -1 to 1, as r_t is")
    if not 0 <= probability <= 1:
        raise ValueError(f"probability={probability}: must be from 0 to 1")
