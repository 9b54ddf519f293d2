"""Where exported weights and the code that exports them come from, for the metadata of a version."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import sg3tf

_SNAPSHOT = re.compile(r"network-snapshot-(\d+)\.keras")


def of_weights(path: Path) -> dict[str, Any]:
    """How far and on what the generator at `path` was trained, as far as the files there say.

    Args:
      path: what `sg3tf.load` takes: run folder, checkpoint folder or .keras file.

    Returns:
      source: name of the file or folder; training_kimg, data_name, data_digest: None where not known.
    """
    path = path.resolve()
    if path.is_dir():
        path = max(path.glob("network-snapshot-*.keras"), default=path)
    # A snapshot lies in its run, a checkpoint two folders below.
    runs = [folder for folder in path.parents[:2] if (folder / "options.json").is_file()]
    options = _read(runs[0] / "options.json") if runs else {}
    return {
        "source": path.name if not runs else str(path.relative_to(runs[0].parent)),
        "training_kimg": _training_kimg(path),
        "data_name": options.get("data_name"),
        "data_digest": options.get("data_digest"),
    }


def _training_kimg(path: Path) -> float | None:
    if match := _SNAPSHOT.fullmatch(path.name):
        return float(match[1])
    folder = path if path.is_dir() else path.parent
    if not (folder / "progress.json").is_file():
        return None
    return _read(folder / "progress.json")["cur_nimg"] / 1000


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def code_revision() -> str | None:
    """Git revision of this project, with "-dirty" where files differ from it; None outside of a checkout."""
    folder = Path(sg3tf.__file__).parent
    # An installed copy may lie inside a checkout of something else, which does not track it.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
