"""Download networks from repositories on the Hugging Face Hub, or from web servers with a known digest."""

from __future__ import annotations

import glob
import hashlib
import http.client
import os
import re
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sg3tf.utils import extras, files
from sg3tf.utils.checksums import digest_file
from sg3tf.utils.error_text import first_line
from sg3tf.utils.files import atomic_write

#: File name of the generator in a repository created by `sg3tf upload`.
GENERATOR = "generator.keras"
#: Files of an unzipped .keras file, as keras.saving.save_model writes them into a repository.
UNZIPPED = ("config.json", "metadata.json", "model.weights.h5")

_HUB = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>refs/\w+/[\w.-]+|[\w.-]+))?(?:/(?P<file>[^@]+\.keras))?/?"
)
#: Suffix of the discriminator's file next to its generator's.
DISCRIMINATOR = "-discriminator.keras"
_SCHEMES = ("hf://", "https://", "http://")
_DIGEST = re.compile(r"sha256=([0-9a-fA-F]{64})")
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0


def is_unzipped_keras(folder: Path) -> bool:
    """Return True for a folder that holds an unzipped .keras file."""
    return all((folder / name).is_file() for name in UNZIPPED)


def is_address(text: str | os.PathLike[str]) -> bool:
    """Return True for the address of a remote network, False for a path."""
    return str(text).startswith(_SCHEMES)


def fetch(address: str, discriminator: bool = False) -> Path:
    """Return the local copy of a network; it is downloaded unless it is cached.

    Args:
        address: hf://USER/NAME, hf://USER/NAME@REVISION or hf://USER/NAME@REVISION/FILE.keras, a repository that holds
            generator.keras, a single .keras file, or an unzipped .keras file; or
            https://HOST/FILE.keras#sha256=DIGEST.
        discriminator: also fetch NAME-discriminator.keras if the repository has it next to NAME.keras.

    Returns:
        A .keras file, or the folder of an unzipped one.

    Raises:
        ValueError: malformed address, or the file's digest differs.
        FileNotFoundError: the address holds no network, or cannot be reached.
        MissingExtraError: the package huggingface_hub is not installed.
    """
    return _from_hub(address, discriminator) if address.startswith("hf://") else _from_web(address)


def identity(address: str) -> tuple[str | None, ...]:
    """Return a key that all addresses of one network share: repository, revision and file, or the file's digest.

    Raises:
        ValueError: malformed address.

    Examples:
        >>> identity("hf://user/cats/") == identity("hf://user/cats")
        True
    """
    return parse_repository(address) if address.startswith("hf://") else (_digest_in(address),)


# --- The hub ----------------------------------------------------------------------------------------------------------


def parse_repository(address: str) -> tuple[str, str | None, str | None]:
    """Return the repository, revision and file of an hf:// address; revision and file are None if not given.

    Examples:
        >>> parse_repository("hf://user/cats@v1")
        ('user/cats', 'v1', None)
    """
    found = _HUB.fullmatch(address)
    if not found:
        raise ValueError(f"{address}: give hf://USER/NAME, hf://USER/NAME@REVISION or hf://USER/NAME/FILE.keras")
    return found["repo"], found["revision"], found["file"]


def _from_hub(address: str, discriminator: bool) -> Path:
    repo, revision, file = parse_repository(address)
    hub: Any = extras.require("huggingface_hub", extra="hub", purpose=f"loading {address}")
    wanted = [GENERATOR, "*.keras", *UNZIPPED]
    if file:
        names = [file]
        if discriminator:
            names.append(file.removesuffix(".keras") + DISCRIMINATOR)
        wanted = [glob.escape(name) for name in names]
    try:
        folder = hub.snapshot_download(
            repo,
            revision=revision,
            allow_patterns=[*wanted, "*classes.json", "*label_scale.json"],  # which belong to the generator
            ignore_patterns=None if discriminator else [f"*{DISCRIMINATOR}"],
        )
    except Exception as error:  # the hub and its HTTP client raise several types
        raise FileNotFoundError(f"{address}: cannot be fetched ({first_line(error)})") from error
    return _network_in(Path(folder), file, address)


def _network_in(folder: Path, file: str | None, address: str) -> Path:
    named = folder / (file or GENERATOR)
    if named.is_file():
        return named
    generators = [path for path in folder.rglob("*.keras") if not path.name.endswith(DISCRIMINATOR)]
    found = sorted(str(path.relative_to(folder)) for path in generators)
    if not file and len(found) == 1:
        return folder / found[0]
    if not file and not found and is_unzipped_keras(folder):
        return folder
    there = f"it has {', '.join(found)}: add one of them to the address" if found else "it has no .keras file"
    raise FileNotFoundError(f"{address}: holds no {file or GENERATOR}; {there}")


# --- Web servers ------------------------------------------------------------------------------------------------------


def _digest_in(address: str) -> str:
    url, _, fragment = address.partition("#")
    digest = _DIGEST.fullmatch(fragment)
    if not digest:
        raise ValueError(
            f"{address}: the digest is missing; give {url}#sha256= and 64 hexadecimal digits, or download the file and "
            "give its path"
        )
    return digest[1].lower()


def _cache_folder() -> Path:
    if not (folder := files.cache_folder()):
        raise ValueError("no home folder to keep downloaded networks in: set XDG_CACHE_HOME to a folder")
    return folder / "networks"


def _from_web(address: str) -> Path:
    url, expected = address.partition("#")[0], _digest_in(address)
    folder = _cache_folder() / expected
    file = folder / (Path(urlsplit(url).path).name or GENERATOR)
    if file.is_file() and digest_file(file) == expected:
        return file
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply, atomic_write(file) as copy:
            found, size = hashlib.sha256(), 0
            while chunk := reply.read(_CHUNK):
                found.update(chunk)
                size += copy.write(chunk)
            if found.hexdigest() != expected:
                got = f"{size:,} bytes of SHA-256 {found.hexdigest()}"
                raise ValueError(f"{url}: gave {got}, not {expected}: the file is another one, or incomplete")
    except (OSError, http.client.HTTPException) as error:
        raise FileNotFoundError(
            f"{url}: cannot be fetched ({error}); or put the file, of SHA-256 {expected}, there yourself: {file}"
        ) from error
    return file
