"""What a run is: one frozen dataclass that the flags fill in and options.json records."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sg3tf.models.configs import (
    PRECISIONS,
    STYLEGAN2_VARIANTS,
    AnyGeneratorConfig,
    DiscriminatorConfig,
    discriminator_preset,
    generator_preset,
)
from sg3tf.utils.files import atomic_write
from trainer import augment
from trainer.errors import OptionError

BLUR_SIGMA_PIXELS = 10.0  # config R blurs the discriminator's first images so much
BLUR_FADE_NIMG_PER_BATCH = 200_000 / 32
EMA_NIMG_PER_BATCH = 10_000 / 32
MAGNITUDE_HALF_LIFE_NIMG = 20_000
AUGMENTATIONS = ("noaug", "fixed", "ada")


#: May be another in a resumed run: they decide how it goes, not what comes out.
FREE = frozenset(
    ("data", "batch_per_replica", "kimg", "tick", "snap", "checkpoint", "keep_checkpoints", "max_bad_ticks", "metrics")
    + ("metrics_samples", "detector_dir", "histograms", "profile_steps", "workers", "cache", "strategy")
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Everything that decides what a run computes, and how often it reports.

    Counts are in images (`_nimg`) or thousands of images (`kimg`); intervals of regularisation are in steps.
    """

    cfg: str
    data: str
    data_name: str
    data_digest: str
    resolution: int
    image_channels: int
    num_images: int
    label_dim: int
    batch: int
    gamma: float
    batch_per_replica: int
    kimg: float = 25000.0
    tick: float = 4.0
    snap: int = 50
    checkpoint: int = 10
    keep_checkpoints: int = 2
    max_bad_ticks: int = 3
    metrics: tuple[str, ...] = ()
    metrics_samples: int | None = None
    detector_dir: str | None = None
    histograms: bool = False
    profile_steps: tuple[int, ...] = ()
    workers: int = 3
    cache: float = 0.0
    strategy: str = "auto"
    seed: int = 0
    mirror: bool = False
    cond: bool = False
    cbase: int = 32768
    cmax: int = 512
    map_depth: int = 2
    mbstd_group: int = 4
    precision: str = "fp32"
    glr: float = 0.0025
    dlr: float = 0.002
    r1_interval: int = 16
    style_mixing: float = 0.0
    pl_weight: float = 0.0
    pl_interval: int = 4
    freezed: int = 0
    aug: str = "noaug"
    augpipe: str = augment.PIPE
    p: float = 0.0
    target: float = augment.TARGET
    ada_kimg: float = augment.KIMG
    ada_heuristic: str = "rt"
    validation: int = 0
    max_images: int | None = None
    init_from: str | None = None
    desc: str = ""

    def __post_init__(self) -> None:
        counts = ("batch", "batch_per_replica", "mbstd_group", "r1_interval", "pl_interval", "snap", "checkpoint")
        for name in (*counts, "keep_checkpoints", "max_bad_ticks", "workers", "kimg", "tick", "glr", "dlr", "ada_kimg"):
            self._require(getattr(self, name) > 0, name, "must be greater than 0")
        for name in ("gamma", "pl_weight", "freezed", "validation", "cache"):
            self._require(getattr(self, name) >= 0, name, "must be 0 or more")  # not a number is refused too
        for name in ("p", "style_mixing"):
            self._require(0 <= getattr(self, name) <= 1, name, "is a probability: from 0 to 1")
        self._require(-1 <= self.target <= 1, "target", "must be from -1 to 1, as r_t is")
        self._require(0 <= self.seed < 2**32, "seed", f"must be from 0 to {2**32 - 1}")
        self._require_one_of("aug", AUGMENTATIONS)
        self._require_one_of("augpipe", augment.PIPES)
        self._require_one_of("ada_heuristic", augment.SOURCES)
        self._require_one_of("precision", PRECISIONS)
        self._check_combinations()
        self.generator(), self.discriminator()

    def _check_combinations(self) -> None:
        size, group = self.batch_per_replica, self.mbstd_group
        divides = size % group == 0 or size <= group
        self._require(divides, "batch_per_replica", f"must be a multiple of --mbstd_group={group}, or smaller")
        if self.pl_weight:
            self._require(
                size % 2 == 0, "batch_per_replica", "must be even: path length regularisation takes half of it"
            )
        if self.ada_heuristic == "rv":
            self._require(self.validation > 0, "ada_heuristic", "needs held-out images, such as --validation=1000")
        convolutions = 3 * (self.resolution.bit_length() - 3) + 1
        few = self.freezed <= convolutions
        self._require(few, "freezed", f"D has {convolutions} convolutions in front of its last block")
        steps = self.profile_steps
        in_order = not steps or (len(steps) == 2 and 0 <= steps[0] < steps[1])
        self._require(in_order, "profile_steps", "give the first step and the one after the last, such as 20,25")
        enough = self.metrics_samples is None or self.metrics_samples > 0
        self._require(enough, "metrics_samples", "must be greater than 0")

    def _require(self, condition: bool, name: str, remedy: str) -> None:
        if not condition:
            raise OptionError(f"--{name}={_as_flag(getattr(self, name))}: {remedy}")

    def _require_one_of(self, name: str, choices: Iterable[str]) -> None:
        self._require(getattr(self, name) in choices, name, f"choose from {', '.join(choices)}")

    def generator(self) -> AnyGeneratorConfig:
        more = (
            {}
            if self.cfg in STYLEGAN2_VARIANTS
            else {"magnitude_decay": 0.5 ** (self.batch / MAGNITUDE_HALF_LIFE_NIMG)}
        )
        return generator_preset(self.cfg, **self._both(), mapping_layers=self.map_depth, **more)

    def discriminator(self) -> DiscriminatorConfig:
        return discriminator_preset(
            self.cfg, **self._both(), mbstd_group_size=min(self.mbstd_group, self.batch_per_replica)
        )

    def _both(self) -> dict[str, Any]:
        """What the two networks have in common."""
        return {
            "resolution": self.resolution,
            "image_channels": self.image_channels,
            "label_dim": self.label_dim,
            "channel_base": self.cbase,
            "channel_max": self.cmax,
        }

    @property
    def policy(self) -> str:
        """Keras dtype policy of the networks."""
        return PRECISIONS[self.precision]

    def num_accumulation_steps(self, replicas: int) -> int:
        """Return the number of parts of each replica's share of the batch, whose gradients are accumulated.

        Raises:
            OptionError: the batch is not a multiple of batch_per_replica * replicas.
        """
        images_at_a_time = self.batch_per_replica * replicas
        if self.batch % images_at_a_time:
            raise OptionError(
                f"--batch={self.batch}: must be a multiple of --batch_per_replica={self.batch_per_replica} "
                f"times {replicas} replicas = {images_at_a_time}"
            )
        return self.batch // images_at_a_time

    @property
    def ema_half_life_nimg(self) -> float:
        return self.batch * EMA_NIMG_PER_BATCH

    @property
    def from_nothing(self) -> bool:
        """Whether the networks begin at random, and so with a ramp-up of the average and a fading blur."""
        return self.init_from is None

    @property
    def blurs(self) -> bool:
        """Whether the discriminator's first images are blurred."""
        return self.cfg == "stylegan3-r" and self.from_nothing

    def blur_sigma(self, cur_nimg: int) -> float:
        """Standard deviation, in pixels over sqrt(2 ln 2), of the blur in front of D; 0 for none."""
        if not self.blurs:
            return 0.0
        return max(1 - cur_nimg / (self.batch * BLUR_FADE_NIMG_PER_BATCH), 0.0) * BLUR_SIGMA_PIXELS

    @property
    def description(self) -> str:
        """How the run folder is named after its number."""
        name = f"{self.cfg}-{self.data_name}-batch{self.batch}-gamma{self.gamma:g}"
        return f"{name}-{self.desc}" if self.desc else name

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def write(self, file: Path) -> None:
        """Writes options.json, whole or not at all."""
        with atomic_write(file) as out:
            out.write(self.to_json().encode())

    @classmethod
    def from_file(cls, path: Path) -> Options:
        """Reads options.json.

        Raises:
            OptionError: not readable, or not of this version.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
            return cls(**values | lists)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise OptionError(f"{path}: cannot be read as training options ({error})") from error

    @property
    def decisive(self) -> dict[str, Any]:
        """What decides what is computed, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in FREE}

    def differences(self, other: Options) -> list[str]:
        """Options in which a run that resumes `other` would compute something else."""
        theirs = other.decisive
        return [
            f"--{name}: {theirs[name]} in the checkpoint, {value} now"
            for name, value in self.decisive.items()
            if value != theirs[name]
        ]


def _as_flag(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
