"""Options of a training run, each with its default, help text, limits, and whether it may change on resume.

The flags (trainer.option_flags), options.json and the page docs/training_options.md are generated from the fields of
Options.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple

from sg3tf import metrics
from sg3tf.data.dataset import Dataset
from sg3tf.data.sampler import ORDERS
from sg3tf.metrics.names import SELF_CONTAINED_METRICS
from sg3tf.models.configs import PRECISIONS, AnyGeneratorConfig, DiscriminatorConfig
from sg3tf.models.presets import PRESETS, STYLEGAN2_PRESETS, discriminator_of_options, generator_preset
from sg3tf.utils.files import atomic_write
from sg3tf.utils.resolution import Resolution, Size, longer_side, num_halvings, size_of, to_resolution
from trainer import augment
from trainer.errors import OptionError
from trainer.precision import default_precision, fastest_precision
from trainer.step_order import PAIRED, PL_INTERVAL, R1_INTERVAL

BLUR_FADE_NIMG_PER_BATCH = 200_000 / 32
EMA_NIMG_PER_BATCH = 10_000 / 32
MAGNITUDE_HALF_LIFE_NIMG = 20_000
STRATEGY_HELP = (
    "auto, mirrored (all GPUs), multiworker (all hosts in TF_CONFIG), gpu:K (one GPU), cpu, "
    "cpu:N (N logical devices, for tests), or tpu[:NAME] (untested)"
)
COMMUNICATIONS = ("auto", "nccl", "ring")
AUGMENTATIONS = ("noaug", "fixed", "ada", "apa")

#: R1 weight per pixel at batch 1. StyleGAN3: the published table, 0.5, 2, 8.2 and 32.8 for 128, 256, 512 and 1024
#: pixels at batch 32. StyleGAN2: the rule of StyleGAN2-ADA. The ablation configs use StyleGAN3's, so that they differ
#: in G alone; at 256 pixels StyleGAN2-ADA was published with the same value.
GAMMA_PER_PIXEL = dict.fromkeys(PRESETS, 1e-3) | {"stylegan2": 2e-4}
GAMMA_FACTOR = 4.0  # warn if gamma differs from the default by more than this factor
#: Below the published resolutions, StyleGAN3 needs a larger gamma than the rule gives (docs/quality.md). There the
#: default is the rule's value for 128 pixels, and values up to SMALL_GAMMA cause no warning.
SMALL_RESOLUTION, SMALL_GAMMA_DEFAULT, SMALL_GAMMA = 128, 0.5, 2.0

#: Defaults for keys missing from an options.json that is older than the option.
_DEFAULTS_OF_OLD_FILES = {"aug": "noaug", "precision": "fp32", "data_order": 1}


class _Limit(NamedTuple):
    """Condition on the value of an option, and the remedy for values that fail it."""

    accepts: Callable[[Any], bool]  # False for nan and infinity
    remedy: str


POSITIVE = _Limit(lambda value: 0 < value < math.inf, "must be greater than 0, and finite")
NOT_NEGATIVE = _Limit(lambda value: 0 <= value < math.inf, "must be 0 or more, and finite")
PROBABILITY = _Limit(lambda value: 0 <= value <= 1, "must be a probability, from 0 to 1")
SIGN_MEAN = _Limit(lambda value: -1 <= value <= 1, "must be from -1 to 1, as r_t is")
SEED = _Limit(lambda value: 0 <= value < 2**32, f"must be from 0 to {2**32 - 1}")
STEP_RANGE = _Limit(
    lambda steps: not steps or (len(steps) == 2 and 0 <= steps[0] < steps[1]),
    "give the first step and the one after the last, such as 20,25",
)


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    resumable: bool = False,
    affects_result: bool = True,
    default_by_cfg: Mapping[str, Any] | None = None,
    default_text: str = "",
    choices: Iterable[str] = (),
    limit: _Limit | None = None,
    only_with_aug: tuple[str, ...] = (),
    flag: bool = True,
) -> Any:
    """Field of Options.

    Args:
        default: default value. If left out, the option is required. If None, with default_by_cfg or default_text, the
            default is computed.
        help: help text of the flag.
        resumable: True if the value may change on resume.
        affects_result: True if the trained weights depend on it.
        default_by_cfg: {cfg: default}.
        default_text: description of a computed default.
        choices: accepted values.
        limit: condition on a given value.
        only_with_aug: values of --aug with which the option has an effect; (): all.
        flag: False for properties of the data set, which are recorded but cannot be given.
    """
    metadata = {
        "help": help,
        "resumable": resumable,
        "affects_result": affects_result,
        "default_by_cfg": default_by_cfg,
        "default_text": default_text,
        "choices": tuple(choices),
        "limit": limit,
        "only_with_aug": only_with_aug,
        "flag": flag,
    }
    return dataclasses.field(default=default, metadata=metadata)


#: Field of Options that does not affect the result, and so may change on resume.
free_option = functools.partial(option, resumable=True, affects_result=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options that determine what a run computes and how often it reports.

    Counts are in images (`_nimg`) or thousands of images (`kimg`); intervals of regularization are in steps. None is
    replaced by the computed default. `Options.for_dataset` fills in the properties of the data.

    Raises:
        OptionError, ConfigError: a value is out of range or conflicts with another; the message gives the remedy.

    Examples:
        >>> size = {"resolution": 16, "cbase": 128, "cmax": 8, "batch": 8}
        >>> data = {"data": "faces", "data_name": "faces", "data_digest": "sha256:0", "num_images": 64}
        >>> options = Options(cfg="stylegan3-t", image_channels=3, label_dim=0, **data, **size)
        >>> options.gamma, options.map_depth, options.batch_per_replica
        (0.5, 2, 8)
        >>> options.generator().resolution
        16
    """

    # Networks.
    cfg: str = option("stylegan3-t", choices=PRESETS, help="Architecture of the generator.")
    cbase: int = option(32768, help="Channel base, the capacity of the networks; config R doubles it in G.")
    cmax: int = option(512, help="Maximum number of channels of a layer; config R doubles it in G.")
    map_depth: int = option(
        None,
        default_by_cfg=dict.fromkeys(PRESETS, 2) | dict.fromkeys(STYLEGAN2_PRESETS, 8),
        help="Number of dense layers in the mapping network.",
    )
    mbstd_group: int = option(4, limit=POSITIVE, help="Group size of D's minibatch standard deviation, in images.")
    freezed: int = option(0, limit=NOT_NEGATIVE, help="Number of D's convolutions to freeze, counted from the image.")
    init_from: str | None = option(
        None,
        help="Networks to start a new run from (transfer learning): a run folder, a checkpoint, a folder with G.keras, "
        "D.keras and G_ema.keras, a generator's .keras file (NAME-discriminator.keras next to it is read as well), its "
        "address hf://USER/NAME@REVISION, or an official pickle.",
    )

    # Data.
    data: str = free_option(
        help="Images to train on: a folder or zip file of images, with --resolution; TFRecords in FFHQ's layout, as a "
        "file or folder; or a folder written by `sg3tf data build`."
    )
    data_name: str = option(flag=False, affects_result=False, help="Name of the data set.")
    data_digest: str = option(flag=False, help="Digest of the data set's content.")
    data_order: int = option(
        ORDERS[-1],
        flag=False,
        limit=_Limit(lambda version: version in ORDERS, f"must be one of {ORDERS}"),
        help="Version of the algorithm that selects images and orders them in an epoch.",
    )
    resolution: Resolution = option(  # noqa: RUF009
        default_text="the largest in --data", help="Resolution to train at, in pixels; 512x256 is width x height."
    )
    image_channels: int = option(flag=False, help="Channels of an image.")
    num_images: int = option(flag=False, help="Number of training images.")
    label_dim: int = option(flag=False, help="Width of a label; 0 without --cond.")
    cond: bool = option(False, help="Train with the labels of the data set.")
    balance: bool = option(
        False, help="Show every class as often as the largest one; generated images get every class equally often, too."
    )
    mirror: bool = option(False, help="Flip half of the images left to right.")
    max_images: int | None = option(None, default_text="all", help="Number of images to use, spread over the data set.")
    validation: int = option(
        0, limit=NOT_NEGATIVE, help="Number of images to hold out for r_v, spread over the data set."
    )
    workers: int = free_option(3, limit=POSITIVE, help="Threads that read and decode images.")
    cache: float = free_option(
        0.0, limit=NOT_NEGATIVE, help="Gigabytes of memory for caching decoded images; 0 caches none."
    )

    # Optimization.
    batch: int = option(limit=POSITIVE, help="Images per step, across all devices.")
    batch_per_replica: int = option(
        None,
        limit=POSITIVE,
        resumable=True,
        default_text="--batch divided by the number of devices",
        help="Images that a device processes at a time; gradients accumulate until its share of the batch is done.",
    )
    loss: str = option(
        "logistic",
        choices=PAIRED,
        help="Loss: StyleGAN's logistic loss, or the paired relativistic loss of arXiv 2501.05441, where gamma is the "
        "weight of both R1 and R2.",
    )
    gamma: float = option(
        None,
        limit=NOT_NEGATIVE,
        resumable=True,
        default_text="0.001 x pixels / batch, below 128 pixels at least 0.5; 0.0002 x pixels / batch with stylegan2",
        help="Weight of the R1 penalty; 0 switches it off.",
    )
    lecam: float = option(
        0.0,
        limit=NOT_NEGATIVE,
        help="Weight of LeCam regularization (arXiv 2104.03310), for small data sets; 0 switches it off.",
    )
    kimg: float = free_option(25000.0, limit=POSITIVE, help="Length of the run, in thousands of images.")
    glr: float = option(
        None,
        limit=POSITIVE,
        resumable=True,
        default_by_cfg=dict.fromkeys(PRESETS, 0.0025) | {"stylegan2": 0.002},
        help="Learning rate of G.",
    )
    dlr: float = option(0.002, limit=POSITIVE, resumable=True, help="Learning rate of D.")
    r1_interval: int = option(R1_INTERVAL, limit=POSITIVE, help="Steps between R1 penalties.")
    style_mixing: float = option(
        None,
        limit=PROBABILITY,
        resumable=True,
        # Style mixing and path length regularization end with config C (arXiv 2106.12423, section 3.1).
        default_by_cfg=dict.fromkeys(PRESETS, 0.0) | dict.fromkeys(STYLEGAN2_PRESETS, 0.9),
        help="Probability that an image mixes the styles of two latents.",
    )
    pl_weight: float = option(
        None,
        limit=NOT_NEGATIVE,
        resumable=True,
        default_by_cfg=dict.fromkeys(PRESETS, 0.0) | dict.fromkeys(STYLEGAN2_PRESETS, 2.0),
        help="Weight of path length regularization; 0 switches it off.",
    )
    pl_interval: int = option(PL_INTERVAL, limit=POSITIVE, help="Steps between path length penalties.")
    posthoc_ema: bool = option(
        False, help="Save two averages of G with every snapshot; `sg3tf ema` makes averages of any length from them."
    )
    precision: str = option(
        None,
        resumable=True,
        choices=(*PRECISIONS, "auto"),
        default_text="fp16 on GPUs, fp32 elsewhere",
        help="Precision of the four highest resolutions; the others compute in fp32. auto: fp16 on GPUs, bf16 on CPUs "
        "that are measured to be faster with it, fp32 elsewhere.",
    )
    seed: int = option(0, limit=SEED, help="Seed of all random numbers.")

    # Augmentation.
    aug: str = option(
        "ada",
        choices=AUGMENTATIONS,
        help="Augmentation of D's images: none, with a fixed probability, or with one that adapts to how much D "
        "overfits; apa replaces real images with generated ones instead (arXiv 2111.06849).",
    )
    augpipe: str = option(
        augment.PIPE, choices=augment.PIPES, only_with_aug=("fixed", "ada"), help="Set of augmentation transforms."
    )
    p: float = option(
        None,
        limit=PROBABILITY,
        only_with_aug=("fixed",),
        help="Probability of every transform; required with --aug=fixed.",
    )
    target: float = option(
        augment.TARGET,
        limit=SIGN_MEAN,
        resumable=True,
        only_with_aug=augment.ADAPTIVE,
        help="Target value of the overfitting heuristic in adaptive augmentation.",
    )
    ada_kimg: float = option(
        None,
        limit=POSITIVE,
        resumable=True,
        only_with_aug=augment.ADAPTIVE,
        default_text=f"{augment.KIMG:g}; {augment.KIMG_FROM_MODEL:g} with --init_from",
        help="Thousands of images over which the probability of adaptive augmentation can rise from 0 to 1.",
    )
    ada_heuristic: str = option(
        "rt",
        choices=augment.SOURCES,
        only_with_aug=augment.ADAPTIVE,
        help="Overfitting heuristic of adaptive augmentation: r_t, or r_v, which needs --validation.",
    )

    # Devices.
    strategy: str = free_option("auto", help=f"Devices: {STRATEGY_HELP}.")

    communication: str = free_option(
        "auto",
        choices=COMMUNICATIONS,
        help="Implementation of reductions between hosts: NCCL between GPUs, TensorFlow's ring over gRPC, or auto, "
        "which lets TensorFlow choose.",
    )
    start_timeout: float = free_option(
        600.0, limit=POSITIVE, help="Seconds to wait for the other workers of TF_CONFIG to start."
    )
    reduce_timeout: float = free_option(
        0.0,
        limit=NOT_NEGATIVE,
        help="Seconds that a reduction between hosts may take before the run stops; 0: no limit. While the first "
        "worker computes metrics, the others wait in a reduction.",
    )
    heartbeat_timeout: float = free_option(
        100.0,
        limit=POSITIVE,
        help="Seconds without a heartbeat, because of a frozen host or a broken network, after which a worker is "
        "considered lost and the others stop.",
    )

    # Reports.
    tick: float = free_option(4.0, limit=POSITIVE, help="Thousands of images between lines of statistics.")
    snap: int = free_option(
        50, limit=POSITIVE, help="Ticks between snapshots, each with an image grid, .keras files and --metrics."
    )
    checkpoint: int = free_option(10, limit=POSITIVE, help="Ticks between checkpoints to resume from.")
    keep_checkpoints: int = free_option(2, limit=POSITIVE, help="Number of newest checkpoints to keep.")
    max_bad_ticks: int = free_option(
        3, limit=POSITIVE, help="Consecutive ticks with gradients that are not finite after which the run stops."
    )
    metrics: tuple[str, ...] = free_option(
        None,
        default_text=",".join(SELF_CONTAINED_METRICS),
        help="Metrics to compute at snapshots, separated by commas, or none; the best snapshot by each is kept. "
        f"Available: {', '.join(metrics.METRIC_NAMES)}.",
    )
    metrics_samples: int | None = free_option(
        None,
        limit=POSITIVE,
        default_text="100 to 1000, depending on --snap, for swd and kid_scattering; else as published, such as 50000",
        help="Number of generated images for each metric.",
    )
    detector_dir: str | None = free_option(
        None, help="Folder with the feature detectors that metrics such as fid50k_full need; see docs/detectors.md."
    )
    histograms: bool = free_option(False, help="Write histograms of the weights to TensorBoard at snapshots.")
    profile_steps: tuple[int, ...] = free_option(
        (),
        limit=STEP_RANGE,
        help="Steps of this process to profile: the first one and the one after the last, such as 20,25.",
    )
    desc: str = option(
        "",
        affects_result=False,
        limit=_Limit(lambda text: "/" not in text, "remove the slash: the text becomes part of a folder's name"),
        help="Text to append to the name of the run folder.",
    )

    def __post_init__(self) -> None:
        self._require_one_of("cfg", PRESETS)
        object.__setattr__(self, "resolution", to_resolution(self.resolution))  # the dataclass is frozen
        self._fill_in_defaults()
        for field in FIELDS.values():
            value, limit, choices = getattr(self, field.name), field.metadata["limit"], field.metadata["choices"]
            if choices:
                self._require_one_of(field.name, choices)
            if limit is not None and value is not None:
                self._require(limit.accepts(value), field.name, limit.remedy)
        self._check_combinations()
        if self.precision == "auto":
            object.__setattr__(self, "precision", self._fastest_precision())
        self.generator()  # raises if the network cannot be built
        self.discriminator()

    def _fill_in_defaults(self) -> None:
        """Replace None by the computed default of each field that has one."""
        computed: dict[str, Any] = {
            "batch_per_replica": self.batch,
            "gamma": default_gamma(self.cfg, self.resolution, self.batch),
            "precision": default_precision(self.strategy),
            "p": 0.0,
            "metrics": self._default_metrics(),
            "ada_kimg": augment.KIMG if self.init_from is None else augment.KIMG_FROM_MODEL,
        }
        for field in FIELDS.values():
            if field.metadata["default_by_cfg"]:
                computed[field.name] = field.metadata["default_by_cfg"][self.cfg]
        if self.aug == "fixed" and self.p is None:
            raise OptionError("--aug=fixed: needs --p, the probability of every transform, such as --p=0.2")
        for name, value in computed.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)  # the dataclass is frozen

    def _fastest_precision(self) -> str:
        size, network = size_of(self.resolution), self.discriminator()
        channels = network.channels(longer_side(self.resolution))
        return fastest_precision(self.strategy, (size.height, size.width), channels, self.batch_per_replica)

    def _default_metrics(self) -> tuple[str, ...]:
        """Metrics that need no detector files, if they are defined for these images."""
        defined = self.image_channels in (1, 3) and size_of(self.resolution).shorter >= 16 and self.num_images > 1
        return SELF_CONTAINED_METRICS if defined else ()

    def _check_combinations(self) -> None:
        size, group = self.batch_per_replica, self.mbstd_group
        self._require(
            size % group == 0 or size <= group,
            "batch_per_replica",
            f"must be a multiple of --mbstd_group={group}, or smaller",
        )
        if self.pl_weight:
            self._require(
                size % 2 == 0, "batch_per_replica", "must be even: path length regularization takes half of it"
            )
        self._require(
            not self.lecam or self.loss == "logistic",
            "lecam",
            "works with --loss=logistic only: relativistic logits have no fixed zero",
        )
        if self.ada_heuristic == "rv":
            self._require(self.validation > 0, "ada_heuristic", "needs held-out images, such as --validation=1000")
        convolutions = 3 * num_halvings(self.resolution) + 1
        self._require(
            self.freezed <= convolutions, "freezed", f"D has {convolutions} convolutions before its last block"
        )

    def _require(self, condition: bool, name: str, remedy: str) -> None:
        if not condition:
            raise OptionError(f"--{name}={as_flag(getattr(self, name))}: {remedy}")

    def _require_one_of(self, name: str, choices: Iterable[str]) -> None:
        self._require(getattr(self, name) in choices, name, f"choose from {', '.join(choices)}")

    @classmethod
    def for_dataset(cls, dataset: Dataset, **values: Any) -> Options:
        """Options of a run on `dataset`.

        Args:
            dataset: training images, which determine the properties of the data.
            values: other options by name; None: the computed default.
        """
        properties = {
            "data_name": dataset.name,
            "data_digest": dataset.digest,
            "resolution": dataset.resolution,
            "image_channels": dataset.channels,
            "num_images": len(dataset),
            "label_dim": dataset.label_dim,
        }
        values = {"data": str(dataset.path), **values}
        for name in ("data", "detector_dir"):
            if values.get(name):
                values[name] = os.path.abspath(values[name])  # for a process that resumes the run from another folder
        return cls(**{**values, **properties})

    # --- Derived quantities -------------------------------------------------------------------------------------------

    def generator(self) -> AnyGeneratorConfig:
        """Architecture of G."""
        fields: dict[str, Any] = {
            "resolution": self.resolution,
            "image_channels": self.image_channels,
            "label_dim": self.label_dim,
            "channel_base": self.cbase,
            "channel_max": self.cmax,
            "mapping_layers": self.map_depth,
        }
        if self.cfg in STYLEGAN2_PRESETS:
            return generator_preset(self.cfg, **fields)
        return generator_preset(self.cfg, **fields, magnitude_ema_beta=0.5 ** (self.batch / MAGNITUDE_HALF_LIFE_NIMG))

    def discriminator(self) -> DiscriminatorConfig:
        """Architecture of D."""
        return discriminator_of_options(vars(self))

    @property
    def policy(self) -> str:
        """Keras dtype policy of the networks."""
        return PRECISIONS[self.precision]

    def num_accumulation_steps(self, replicas: int) -> int:
        """Return the number of parts into which each replica splits its share of the batch.

        Raises:
            OptionError: the batch cannot be divided evenly among replicas and parts.
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
    def from_scratch(self) -> bool:
        """True if the networks start from random weights, with a ramp-up of the average and a fading blur."""
        return self.init_from is None

    @property
    def blur_fade_nimg(self) -> float | None:
        """Images over which the initial blur of the discriminator's images fades; None without blur."""
        is_blurred = self.cfg == "stylegan3-r" and self.from_scratch
        return self.batch * BLUR_FADE_NIMG_PER_BATCH if is_blurred else None

    @property
    def warnings(self) -> list[str]:
        """Warnings about options with which training rarely succeeds."""
        return [f"warning: {text}" for text in (self.gamma_warning, self.blur_warning) if text]

    @property
    def blur_warning(self) -> str | None:
        """Warning if the discriminator never sees images without blur."""
        if self.blur_fade_nimg is None or self.kimg * 1000 >= self.blur_fade_nimg:
            return None
        return (
            f"--kimg={self.kimg:g}: the blur of the discriminator's images in config R fades over "
            f"{self.blur_fade_nimg / 1000:g} kimg, so details remain untrained; train longer, or use a smaller --batch "
            "or --init_from"
        )

    @property
    def gamma_warning(self) -> str | None:
        """Warning if the R1 weight is far from the default; None if it is not, or is 0, which switches R1 off."""
        usual = default_gamma(self.cfg, self.resolution, self.batch)
        most = max(usual * GAMMA_FACTOR, SMALL_GAMMA if longer_side(self.resolution) < SMALL_RESOLUTION else 0)
        if self.gamma == 0 or usual / GAMMA_FACTOR <= self.gamma <= most:
            return None
        return (
            f"--gamma={self.gamma:g} differs by more than a factor of {GAMMA_FACTOR:g} from {usual:g}, the usual value "
            f"for {self.cfg} at resolution {self.resolution} and batch {self.batch}; try values around both"
        )

    @property
    def description(self) -> str:
        """Name of the run folder without its number."""
        name = f"{self.cfg}-{self.data_name}-batch{self.batch}-gamma{self.gamma:g}"
        return f"{name}-{self.desc}" if self.desc else name

    # --- Comparison with another run, and options.json ----------------------------------------------------------------

    @property
    def reproducibility_fields(self) -> dict[str, Any]:
        """Options that the trained weights depend on, by name."""
        return {name: getattr(self, name) for name, field in FIELDS.items() if field.metadata["affects_result"]}

    def changes_since(self, previous: Options, kimg: float) -> list[Change]:
        """Options that differ from those of `previous`, the same run up to `kimg`."""
        values = [(name, getattr(previous, name), getattr(self, name)) for name in FIELDS]
        return [Change(kimg, name, old, new) for name, old, new in values if old != new]

    def to_json(self, changes: Collection[Change] = ()) -> str:
        """Content of options.json: the options and, under "changes", their history."""
        values = dataclasses.asdict(self) | {"changes": [dataclasses.asdict(change) for change in changes]}
        return json.dumps(values, indent=2) + "\n"

    def write(self, file: Path, changes: Collection[Change] = ()) -> None:
        """Write options.json atomically."""
        with atomic_write(file) as out:
            out.write(self.to_json(changes).encode())

    @classmethod
    def from_file(cls, path: Path) -> Options:
        """Read options.json.

        Raises:
            OptionError: the file is unreadable or from another version.
        """
        return read_options(path)[0]


FIELDS: dict[str, dataclasses.Field[Any]] = {field.name: field for field in dataclasses.fields(Options)}
#: Default of every option with a flag; None if the option is required or its default is computed.
DEFAULTS: dict[str, Any] = {
    name: None if field.default is dataclasses.MISSING else field.default
    for name, field in FIELDS.items()
    if field.metadata["flag"]
}


@dataclasses.dataclass(frozen=True)
class Change:
    """Change of an option when a run was resumed.

    Attributes:
        kimg: thousands of images shown before the change.
        option: name of the option.
        old, new: values of the option.

    Examples:
        >>> change = Change(kimg=100.0, option="gamma", old=2.0, new=4.0)
        >>> str(change), change.allowed, change.affects_result
        ('--gamma from 2.0 to 4.0', True, True)
    """

    kimg: float
    option: str
    old: Any
    new: Any

    @property
    def allowed(self) -> bool:
        """True if a resumed run may change the option."""
        return bool(FIELDS[self.option].metadata["resumable"])

    @property
    def affects_result(self) -> bool:
        """True if the trained weights depend on the option."""
        return bool(FIELDS[self.option].metadata["affects_result"])

    def __str__(self) -> str:
        prefix = "--" if FIELDS[self.option].metadata["flag"] else ""
        old, new = ("none" if value in (None, (), "") else as_flag(value) for value in (self.old, self.new))
        return f"{prefix}{self.option} from {old} to {new}"


def read_options(path: Path) -> tuple[Options, list[Change]]:
    """Read options.json: the options, and the changes that led to them.

    Raises:
        OptionError: the file is unreadable or from another version.
    """
    try:
        values: dict[str, Any] = _DEFAULTS_OF_OLD_FILES | json.loads(path.read_text())
        changes = [Change(**_lists_to_tuples(change)) for change in values.pop("changes", [])]
        for change in changes:
            if change.option not in FIELDS:
                raise OptionError(f"{change.option!r} in 'changes' is not an option of this version; remove the change")
        values = _lists_to_tuples(values)
        if isinstance(values.get("resolution"), tuple):
            values["resolution"] = to_resolution(values["resolution"])
        _check_types(values)
        return Options(**values), changes
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise OptionError(f"{path}: cannot be read as training options ({error})") from error


def _check_types(values: Mapping[str, Any]) -> None:
    """Check names and types of the values of options.json, which may have been edited by hand."""
    hints = typing.get_type_hints(Options)
    for name, value in values.items():
        if name not in hints:
            raise OptionError(f"{name!r} is not an option of this version; remove it")
        union = isinstance(hints[name], UnionType)
        kinds = [typing.get_origin(kind) or kind for kind in (typing.get_args(hints[name]) if union else [hints[name]])]
        if type(value) not in kinds and not (type(value) is int and float in kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise OptionError(f"{name}={value!r}: must be {expected}")


def _lists_to_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def default_gamma(cfg: str, resolution: Resolution, batch: int) -> float:
    """Default weight of the R1 penalty: the published one, with a floor for StyleGAN3 on small images."""
    is_small = longer_side(resolution) < SMALL_RESOLUTION and cfg != "stylegan2"
    return max(published_gamma(cfg, resolution, batch), SMALL_GAMMA_DEFAULT if is_small else 0.0)


def published_gamma(cfg: str, resolution: Resolution, batch: int) -> float:
    """Weight of the R1 penalty by the published rule: fewer pixels and larger batches need less of it."""
    return round(GAMMA_PER_PIXEL[cfg] * size_of(resolution).pixels / max(batch, 1), 5)


def as_flag(value: Any) -> str:
    """Value of an option as written on the command line."""
    return ",".join(map(str, value)) if isinstance(value, tuple) and not isinstance(value, Size) else str(value)
