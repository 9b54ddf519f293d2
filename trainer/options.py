"""What a run is: one frozen dataclass that the flags fill in and options.json records."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from sg3tf.config import (
    DiscriminatorConfig,
    GeneratorConfig,
    discriminator_preset,
    generator_preset,
)

BLUR_SIGMA_PIXELS = 10.0  # config R blurs the discriminator's first images so much
BLUR_FADE_NIMG_PER_BATCH = 200_000 / 32
EMA_NIMG_PER_BATCH = 10_000 / 32
MAGNITUDE_HALF_LIFE_NIMG = 20_000


class OptionError(ValueError):
    """Options that contradict each other or the data; the message is one line with the remedy."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Everything that decides what a run computes, and how often it reports.

    Counts are in images (`_nimg`) or thousands of images (`kimg`); intervals of regularisation are in steps.
    """

    cfg: str
    data: str
    data_name: str
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
    seed: int = 0
    mirror: bool = False
    cond: bool = False
    cbase: int = 32768
    cmax: int = 512
    map_depth: int = 2
    mbstd_group: int = 4
    glr: float = 0.0025
    dlr: float = 0.002
    r1_interval: int = 16
    max_images: int | None = None
    workers: int = 3
    strategy: str = "auto"
    desc: str = ""

    def __post_init__(self) -> None:
        counts = ("batch", "batch_per_replica", "mbstd_group", "r1_interval", "snap", "workers")
        for name in (*counts, "kimg", "tick", "glr", "dlr"):
            if not getattr(self, name) > 0:
                raise OptionError(f"--{name}={getattr(self, name)}: must be greater than 0")
        if not 0 <= self.seed < 2**32:
            raise OptionError(f"--seed={self.seed}: must be from 0 to {2**32 - 1}")
        if not self.gamma >= 0:  # not a number is refused too
            raise OptionError(f"--gamma={self.gamma}: must be 0 or more")
        if self.batch_per_replica % self.mbstd_group and self.batch_per_replica > self.mbstd_group:
            raise OptionError(
                f"--batch_per_replica={self.batch_per_replica}: must be a multiple of "
                f"--mbstd_group={self.mbstd_group}, or smaller"
            )

    def generator(self) -> GeneratorConfig:
        return generator_preset(
            self.cfg,
            **self._both(),
            mapping_layers=self.map_depth,
            magnitude_decay=0.5 ** (self.batch / MAGNITUDE_HALF_LIFE_NIMG),
        )

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

    def rounds(self, replicas: int) -> int:
        """Into how many chunks every replica divides its share of the batch.

        Raises:
            OptionError: the batch does not divide among replicas and chunks.
        """
        per_round = self.batch_per_replica * replicas
        if self.batch % per_round:
            raise OptionError(
                f"--batch={self.batch}: must be a multiple of --batch_per_replica={self.batch_per_replica} "
                f"times {replicas} replicas = {per_round}"
            )
        return self.batch // per_round

    @property
    def ema_half_life_nimg(self) -> float:
        return self.batch * EMA_NIMG_PER_BATCH

    def blur_sigma(self, cur_nimg: int) -> float:
        """Standard deviation, in pixels over sqrt(2 ln 2), of the blur in front of D; 0 for none."""
        if self.cfg != "stylegan3-r":
            return 0.0
        return max(1 - cur_nimg / (self.batch * BLUR_FADE_NIMG_PER_BATCH), 0.0) * BLUR_SIGMA_PIXELS

    @property
    def description(self) -> str:
        """How the run folder is named after its number."""
        name = f"{self.cfg}-{self.data_name}-batch{self.batch}-gamma{self.gamma:g}"
        return f"{name}-{self.desc}" if self.desc else name

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_file(cls, path: Path) -> Options:
        """Reads options.json.

        Raises:
            OptionError: not readable, or not of this version.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            return cls(**values)
        except (OSError, ValueError, TypeError) as error:
            raise OptionError(f"{path}: cannot be read as training options ({error})") from error

    def differences(self, other: Options) -> list[str]:
        """Options in which a run that resumes `other` would compute something else."""
        free = {"data", "kimg", "tick", "snap", "workers", "strategy", "batch_per_replica"}
        return [
            f"--{field.name}: {getattr(other, field.name)} in the checkpoint, {getattr(self, field.name)} now"
            for field in dataclasses.fields(self)
            if field.name not in free and getattr(self, field.name) != getattr(other, field.name)
        ]
