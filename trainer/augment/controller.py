"""Adaptive probability of the augmentation, driven by overfitting (arXiv 2006.06676, section 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import tensorflow as tf

from trainer.augment.heuristics import INTERVAL, KIMG, SOURCES, TARGET, direction, measure, next_probability


class Controller:
    """Adjusts the probability p of augmentation in fixed steps, to keep a measure of overfitting at its target.

    r_t = E[sign(D(train))] is the share of training images that D classifies as real, minus the share of the others;
    r_v = (E[D(train)] - E[D(validation)]) / (E[D(train)] - E[D(generated)]) is 0 if held-out images score as high as
    training images, and 1 if they score as low as generated ones.

    Create it outside the strategy's scope: its inputs are metrics of the global batch, the same in every worker.

    Args:
        batch: images of a step.
        heuristic: "rt" or "rv"; the latter needs logits of held-out images.
        target: target of the heuristic.
        kimg: thousands of images over which p can rise from 0 to 1.
        probability: initial p.
        aug: "ada" or "apa", for the remedy in `warning`.

    Raises:
        ValueError: an argument is out of range; the message gives its name, its value and the remedy.

    Examples:
        >>> controller = Controller(batch=32, target=0.6, kimg=100)
        >>> for _ in range(4):  # the discriminator classifies 90 % of the real images as real
        ...     controller.observe({"Loss/signs/real": 0.9 - 0.1})
        >>> controller.probability
        0.00128
    """

    def __init__(
        self,
        batch: int,
        *,
        heuristic: str = "rt",
        target: float = TARGET,
        kimg: float = KIMG,
        probability: float = 0.0,
        aug: str = "ada",
    ) -> None:
        _check(batch, heuristic, target, kimg, probability)
        self.heuristic, self.target = heuristic, target
        self.batch = batch
        self.sources = SOURCES[heuristic]
        self._kimg = kimg
        self._aug = aug
        # On the device of the metrics, so that adding them does not wait for a transfer.
        self._sums = tf.Variable(tf.zeros([len(self.sources)]), trainable=False, name="ada_sums")
        with tf.device("CPU:0"):  # read in every step, which must not wait for the device's queue
            self._counts = tf.Variable(tf.zeros([len(self.sources)], tf.int64), trainable=False, name="ada_counts")
            self._steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="ada_steps")
            self._p = tf.Variable(probability, dtype=tf.float64, trainable=False, name="ada_p")
            self._overfitting = tf.Variable(math.nan, dtype=tf.float64, trainable=False, name="ada_overfitting")
            self._saturated_nimg = tf.Variable(0, dtype=tf.int64, trainable=False, name="ada_saturated_nimg")

    @property
    def variables(self) -> list[tf.Variable]:
        """Variables to save in a checkpoint, for a bit-exact resume."""
        return [self._sums, self._counts, self._steps, self._p, self._overfitting, self._saturated_nimg]

    @property
    def probability(self) -> float:
        """Current p, 0 or more. At 1 and above, every transform is always applied."""
        return float(self._p.numpy())

    @property
    def overfitting(self) -> float:
        """The heuristic at the last change of p; NaN before the first."""
        return float(self._overfitting.numpy())

    @property
    def warning(self) -> str | None:
        """Message with a remedy, if p has been 1 or more without falling for some time; else None."""
        if self._saturated_nimg.numpy() < 10 * self.batch * INTERVAL:
            return None
        heuristic = f"r_{self.heuristic[1]} = {self.overfitting:.2f}"
        if self._aug == "apa":
            found, other = "the discriminator sees generated images only", "--aug=ada in a new run"
        else:
            found, other = "the discriminator overfits in spite of it", "a wider --augpipe"
        return (
            f"augmentation is saturated: p has been 1 or more for {self._saturated_nimg.numpy() / 1000:.1f} kimg, and "
            f"{heuristic} is still above --target={self.target:g}: {found}. Use more data, "
            f"--mirror, a larger --gamma or {other}"
        )

    def metrics(self) -> dict[str, float]:
        """Metrics for the log: p, and the heuristic once it has been computed."""
        values = {"Progress/augment": self.probability, f"Progress/r_{self.heuristic[1]}": self.overfitting}
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def observe(self, *phases: Mapping[str, tf.Tensor | float]) -> None:
        """Add the metrics of one step; move p after every INTERVAL steps.

        Logits of held-out images may be missing in some of the steps.

        Args:
            *phases: {name: mean over the batch} for each phase that scored images: the discriminator's loss and, when
                due, R1. A heuristic is computed from the means over all of them.

        Raises:
            ValueError: a metric that the heuristic needs was missing during a whole interval.
        """
        for metrics in phases:
            self._sums.assign_add([tf.cast(metrics.get(name, 0.0), tf.float32) for name in self.sources])
        with tf.device("CPU:0"):
            self._counts.assign_add([sum(name in metrics for metrics in phases) for name in self.sources])
            steps = self._steps.assign_add(1)
        if int(steps.numpy()) % INTERVAL == 0:
            self._adjust()

    def _adjust(self) -> None:
        for name, count in zip(self.sources, self._counts.numpy(), strict=True):
            if count == 0:
                raise ValueError(f"no {name!r} among the metrics of {INTERVAL} steps: r_{self.heuristic[1]} needs it")
        means = [s / c for s, c in zip(self._sums.numpy(), self._counts.numpy(), strict=True)]
        self._sums.assign(tf.zeros_like(self._sums))
        self._counts.assign(tf.zeros_like(self._counts))
        self._overfitting.assign(measure(self.heuristic, means))
        sign = direction(self.overfitting, self.target)
        move = self.batch * INTERVAL / (self._kimg * 1000)
        self._p.assign(next_probability(self.probability, sign * move))
        is_saturated = self.probability >= 1 and sign >= 0
        self._saturated_nimg.assign(self._saturated_nimg + self.batch * INTERVAL if is_saturated else 0)


def _check(batch: int, heuristic: str, target: float, kimg: float, probability: float) -> None:
    if heuristic not in SOURCES:
        raise ValueError(f"heuristic={heuristic!r}: choose from {', '.join(SOURCES)}")
    for name, value in {"batch": batch, "kimg": kimg}.items():
        if not value > 0:
            raise ValueError(f"{name}={value}: must be greater than 0")
    if not -1 <= target <= 1:
        raise ValueError(f"target={target}: must be from -1 to 1, as r_t is")
    if not 0 <= probability <= 1:
        raise ValueError(f"probability={probability}: must be from 0 to 1")
