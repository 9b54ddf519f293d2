"""Flags of trainer.main for a network like a given one."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any


def network_flags(path: str | Path) -> dict[str, Any]:
    """Flags {name: value} with which trainer.main makes a network that --init_from=PATH fits.

    Args:
        path: .keras file of a generator of config T or R.

    Raises:
        ValueError: another file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))["config"]["config"]
        is_r = config.get("use_radial_filters") or config.get("radial")  # the latter in files of earlier versions
        doubled = 2 if is_r else 1  # config R has twice the channels that its flags say
        return {
            "cfg": "stylegan3-r" if is_r else "stylegan3-t",
            "resolution": config["resolution"],
            "cbase": config["channel_base"] // doubled,
            "cmax": config["channel_max"] // doubled,
            "map_depth": config["mapping_layers"],
        }
    except (zipfile.BadZipFile, KeyError, TypeError) as error:
        raise ValueError(f"--network={path}: not the .keras file of a generator of StyleGAN3 ({error})") from error
