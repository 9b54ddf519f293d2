"""What flags that nobody gave stand for: the published settings of each configuration."""

from __future__ import annotations

from typing import Any

from sg3tf.models.configs import PRESETS, STYLEGAN2_VARIANTS
from trainer import augment
from trainer.errors import OptionError

#: R1 weight per pixel at batch 1. For StyleGAN3 that is the published table, 0.5, 2, 8.2 and 32.8 for 128, 256, 512 and
#: 1024 pixels at batch 32; for StyleGAN2 the rule of StyleGAN2-ADA. The ladder has StyleGAN3's throughout, so that its
#: steps differ in G alone; at 256 pixels that is what StyleGAN2-ADA was published with too.
GAMMA_PER_PIXEL = dict.fromkeys(PRESETS, 1e-3) | {"stylegan2": 2e-4}
GAMMA_FACTOR = 4.0  # what differs by more is worth a warning
GLR = dict.fromkeys(PRESETS, 0.0025) | {"stylegan2": 0.002}
# What goes with skip connections, and with them from config D on (arXiv 2106.12423, section 3.1).
MAP_DEPTH = dict.fromkeys(PRESETS, 2) | dict.fromkeys(STYLEGAN2_VARIANTS, 8)
STYLE_MIXING = dict.fromkeys(PRESETS, 0.0) | dict.fromkeys(STYLEGAN2_VARIANTS, 0.9)
PL_WEIGHT = dict.fromkeys(PRESETS, 0.0) | dict.fromkeys(STYLEGAN2_VARIANTS, 2.0)


def gamma(cfg: str, resolution: int, batch: int) -> float:
    """Weight of the R1 penalty: fewer pixels and larger batches need less of it."""
    return round(GAMMA_PER_PIXEL[cfg] * resolution**2 / batch, 5)


def gamma_warning(given: float, cfg: str, resolution: int, batch: int) -> str | None:
    """What to say about a weight far from the published one; nothing about 0, which switches R1 off."""
    usual = gamma(cfg, resolution, batch)
    if given == 0 or usual / GAMMA_FACTOR <= given <= usual * GAMMA_FACTOR:
        return None
    return (
        f"--gamma={given:g} is more than {GAMMA_FACTOR:g} times away from {usual:g}, which is usual for {cfg} at "
        f"resolution {resolution} and batch {batch}; try values around both"
    )


def resolve_defaults(given: dict[str, Any], *, resolution: int, on_gpu: bool) -> dict[str, Any]:
    """Puts a value in place of every None.

    Args:
        given: all flags that are fields of Options, None where not given.
        resolution: of the images.
        on_gpu: whether 16-bit arithmetic pays.

    Raises:
        OptionError: flags that contradict each other.
    """
    cfg = given["cfg"]
    precision = "fp16" if on_gpu else "fp32"
    usual = {
        "gamma": gamma(cfg, resolution, max(given["batch"], 1)),
        "glr": GLR[cfg],
        "map_depth": MAP_DEPTH[cfg],
        "style_mixing": STYLE_MIXING[cfg],
        "pl_weight": PL_WEIGHT[cfg],
        "precision": precision,
    }
    filled = {**given, **_augmentation(given)}
    return filled | {name: value for name, value in usual.items() if given[name] is None}


def _augmentation(given: dict[str, Any]) -> dict[str, Any]:
    """Flags of ADA; one that another makes meaningless is refused rather than ignored."""
    aug = given["aug"]
    only_with = {"p": "fixed", "target": "ada", "ada_kimg": "ada", "ada_heuristic": "ada"}
    for name, wanted in only_with.items():
        if given[name] is not None and aug != wanted:
            raise OptionError(f"--{name}={given[name]}: has a meaning with --aug={wanted} only, and --aug is {aug}")
    if given["augpipe"] is not None and aug == "noaug":
        raise OptionError(f"--augpipe={given['augpipe']}: has no meaning with --aug=noaug; leave one of them out")
    if aug == "fixed" and given["p"] is None:
        raise OptionError("--aug=fixed: needs --p, the probability of every transform, such as --p=0.2")
    usual = {
        "augpipe": augment.PIPE,
        "p": 0.0,
        "target": augment.TARGET,
        "ada_kimg": augment.KIMG_FROM_MODEL if given["init_from"] else augment.KIMG,
        "ada_heuristic": "rt",
    }
    return {name: usual[name] if given[name] is None else given[name] for name in usual}
