"""Order and inputs of the phases of a training step, computed on the host, without TensorFlow.

Exported phases (custom_ops/gpu) run in the same order, with the same inputs, where TensorFlow is not installed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from trainer import stats
from trainer.augment import ADAPTIVE
from trainer.inputs import (
    Batch,
    DiscriminatorInputs,
    FakeInputs,
    PathLengthInputs,
    RealInputs,
    View,
    map_arrays,
)
from trainer.random_inputs import RandomInputs

R1_INTERVAL = 16  # default steps between R1 phases
PL_INTERVAL = 4  # default steps between path length phases
#: {loss: True if it compares generated images with real ones, so all of its phases need both}
PAIRED = {"logistic": False, "relativistic": True}
BLUR_SIGMA_PIXELS = 10.0  # initial blur of the discriminator's images, config R
EMA_RAMP_UP = 0.05  # the half-life is at most this share of the images seen so far

Inputs = TypeVar("Inputs")
#: Function of the inputs of a phase that updates the weights and returns the moments of the metrics.
Phase = Callable[[Any], stats.Moments]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepSettings:
    """Options that determine the order of phases and their inputs; see trainer.config.Options.

    Attributes:
        batch: images of a step.
        loss: key of PAIRED and of trainer.losses.LOSSES.
        gamma, r1_interval, pl_weight, pl_interval: regularization, see trainer.losses.Regularization.
        aug: see trainer.config.AUGMENTATIONS.
        blur_fade_nimg: images over which the blur fades; None without blur.
        ema_half_life_nimg: half-life of the average of G.
        from_scratch: True if the average ramps up.
    """

    batch: int
    loss: str
    gamma: float
    r1_interval: int
    pl_weight: float
    pl_interval: int
    aug: str
    blur_fade_nimg: float | None
    ema_half_life_nimg: float
    from_scratch: bool = True

    @classmethod
    def of(cls, options: Any) -> StepSettings:
        """Settings of a run with the given trainer.config.Options."""
        return cls(**{field.name: getattr(options, field.name) for field in dataclasses.fields(cls)})


class Progress(Protocol):
    """The part of a training state that StepOrder reads and advances.

    Attributes:
        cur_nimg: number of real images seen.
        step: number of steps trained.
        augment: None without augmentation.
        controller: probability of the augmentation, see trainer.augment.controller.Controller.
    """

    cur_nimg: int
    step: int
    augment: Any
    controller: Any


class StepOrder:
    """The phases of a step in their order, and their inputs: NumPy arrays of this worker.

    A subclass sets the functions that run on devices: `_phases` by name, `_held_out_scores`, which only measures, and
    `_update_ema`, a function of the average's decay.

    Args:
        state: progress of the run.
        settings: options of the run.
        random_inputs: latents and labels of generated images, and parameters of the augmentation.
        part: function of a number of rows that returns this worker's rows.

    Examples:
        >>> from types import SimpleNamespace
        >>> from trainer.random_inputs import LabelArray
        >>> class Names(StepOrder):
        ...     def __init__(self, *arguments):
        ...         super().__init__(*arguments)
        ...         self._phases = {name: lambda inputs, name=name: print(name) or {} for name in ("G", "D", "R1")}
        ...         self._update_ema = lambda decay: print(decay)
        >>> settings = StepSettings(
        ...     batch=8,
        ...     loss="logistic",
        ...     gamma=1.0,
        ...     r1_interval=16,
        ...     pl_weight=0.0,
        ...     pl_interval=4,
        ...     aug="noaug",
        ...     blur_fade_nimg=None,
        ...     ema_half_life_nimg=8.0,
        ...     from_scratch=False,
        ... )
        >>> random_inputs = RandomInputs(LabelArray(np.zeros([64, 0], np.float32)), batch=8, z_dim=512, seed=0)
        >>> order = Names(SimpleNamespace(cur_nimg=0, step=0, augment=None), settings, random_inputs)
        >>> order.run((np.zeros([8, 16, 16, 3], np.uint8), np.zeros([8, 0], np.float32)))
        G
        D
        R1
        0.5
        {}
    """

    _phases: dict[str, Phase]
    _held_out_scores: Phase
    _update_ema: Callable[[Any], None]

    def __init__(
        self, state: Progress, settings: StepSettings, random_inputs: RandomInputs, part: Callable[[int], slice] = slice
    ) -> None:
        self.state, self.settings, self.random_inputs, self._part_of_rows = state, settings, random_inputs, part

    def run(self, real: Batch, held_out: Batch | None = None) -> stats.Moments:
        """Train on one batch; return the moments of every metric, over all workers.

        Args:
            real: training images: this worker's part of the batch.
            held_out: this worker's part of the held-out images, which are only scored; None in steps without.
        """
        state, settings = self.state, self.settings
        paired = PAIRED[settings.loss]
        label = real[1] if paired else None  # logits of different labels have no common zero and are not comparable
        fake_inputs: Any = self._fake_inputs("G", "G", label)
        metrics = self._phases["G"](self._with_real(real, "G real", fake_inputs) if paired else fake_inputs)
        if settings.pl_weight and state.step % settings.pl_interval == 0:
            metrics = {**metrics, **self._phases["PL"](self._path_length_inputs())}
        scores = self._phases["D"](self._with_real(real, "D real", self._fake_inputs("D", "D fake", label)))
        if held_out is not None:
            scores = {**scores, **self._held_out_scores(self._real_inputs(held_out, "validation"))}
        metrics, judged = stats.add(metrics, scores), [scores]
        if settings.gamma and state.step % settings.r1_interval == 0:
            if paired:
                scores = self._phases["R1"](self._with_real(real, "R1", self._fake_inputs("R2", "R2", label)))
            else:
                scores = self._phases["R1"](self._real_inputs(real, "R1"))
            metrics, judged = stats.add(metrics, scores), [*judged, scores]
        if settings.aug in ADAPTIVE:
            sources = state.controller.sources
            state.controller.observe(*({n: stats.mean(phase[n]) for n in sources if n in phase} for phase in judged))
        keep = ema_decay(settings.batch, state.cur_nimg, settings.ema_half_life_nimg, ramp_up=settings.from_scratch)
        self._update_ema(np.asarray(keep, np.float32))
        state.cur_nimg += settings.batch
        state.step += 1
        return metrics

    # --- Inputs of the phases -----------------------------------------------------------------------------------------

    def _fake_inputs(self, latents: str, augmentation: str, label: Any) -> FakeInputs:
        drawn = self._worker_slice(self.random_inputs.latents(latents, self.state.cur_nimg))
        if label is not None:
            drawn = dataclasses.replace(drawn, label=label)
        return FakeInputs(drawn, self._view(augmentation))

    def _real_inputs(self, batch: Batch, augmentation: str) -> RealInputs:
        images, label = batch
        pseudo, p = None, self.state.controller.probability if self.settings.aug == "apa" else 0.0
        if p and augmentation in ("D real", "R1"):
            pseudo = self._worker_slice(self.random_inputs.pseudo_real(self.state.cur_nimg, p))
            if PAIRED[self.settings.loss]:
                pseudo = dataclasses.replace(pseudo, latents=dataclasses.replace(pseudo.latents, label=label))
        return RealInputs(images, label, self._view(augmentation), pseudo)

    def _with_real(self, real: Batch, augmentation: str, fake: FakeInputs) -> DiscriminatorInputs:
        return DiscriminatorInputs(self._real_inputs(real, augmentation), fake)

    def _path_length_inputs(self) -> PathLengthInputs:
        count = max(self.settings.batch // 2, 1)  # the last batch of a Keras epoch may be a single image
        latents = self.random_inputs.latents("PL", self.state.cur_nimg, count)
        directions = self.random_inputs.directions(self.state.cur_nimg, count)
        return self._worker_slice(PathLengthInputs(latents, directions))

    def _view(self, augmentation: str) -> View:
        blur_sigmas = params = p = None
        if self.settings.blur_fade_nimg is not None:
            sigma = blur_sigma(self.state.cur_nimg, self.settings.blur_fade_nimg)
            blur_sigmas = np.full([self.settings.batch], sigma, np.float32)
        if self.state.augment is not None:
            params = self.random_inputs.augmentation(augmentation, self.state.cur_nimg)
            p = np.full([self.settings.batch], self.state.controller.probability, np.float32)
        return self._worker_slice(View(blur_sigmas, params, p))

    def _worker_slice(self, inputs: Inputs) -> Inputs:
        """This worker's part of the global batch's inputs."""
        return map_arrays(lambda array: array[self._part_of_rows(len(array))], inputs)


def blur_sigma(cur_nimg: int, fade_nimg: float) -> float:
    """Sigma of the blur before D, in pixels, which fades over `fade_nimg` images; see trainer.losses.blur."""
    return max(1 - cur_nimg / fade_nimg, 0.0) * BLUR_SIGMA_PIXELS


def ema_decay(batch: int, cur_nimg: int, half_life_nimg: float, ramp_up: bool = True) -> float:
    """Decay of the moving average of G in the step that begins at `cur_nimg` images.

    See arXiv 2006.06676, appendix C; on half-lives, arXiv 2312.02696, section 4.2.

    Args:
        batch: images of a step.
        cur_nimg: images seen before this step; in the first step, the decay is 0.
        half_life_nimg: half-life of the average, in images.
        ramp_up: shorten the half-life to EMA_RAMP_UP times cur_nimg at the beginning.
    """
    if ramp_up:
        half_life_nimg = min(half_life_nimg, cur_nimg * EMA_RAMP_UP)
    return 0.5 ** (batch / max(half_life_nimg, 1e-8))
