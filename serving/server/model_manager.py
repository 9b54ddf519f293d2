"""Versions of the served model: version folders, loading and unloading."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeAlias

import grpc

from serving.server.admission import Caller
from serving.server.errors import RequestError, invalid, not_found
from serving.server.model import ServedModel
from serving.server.version_policy import VersionPolicy

#: Number or label of a version; None for the newest.
Version: TypeAlias = int | str | None

_LAST_VERSION = 2**63 - 1  # of the protocol's int64
# For a version that cannot be loaded and does not change, as in TensorFlow Serving: every load costs time, and batching
# queues that are never freed.
_MAX_RETRIES = 5
_RETRY_SECONDS = 60.0
_NO_CALLER = Caller()  # who has a deadline, or could hang up

_logger = logging.getLogger(__name__)


def version_folders(base: Path) -> dict[int, Path]:
    """Return the folders of complete versions under `base`, by number, without links to other places.

    Folders that cannot be read are among them; loading one gives the reason.

    Raises:
        OSError: `base` cannot be read.
    """
    root = base.resolve()
    folders = {}
    for entry in base.iterdir():
        if not entry.name.isdecimal() or int(entry.name) > _LAST_VERSION:
            continue
        if _has_model(entry) and entry.resolve().is_relative_to(root):
            folders[int(entry.name)] = entry
    return folders


def _has_model(folder: Path) -> bool:
    try:
        return (folder / "saved_model.pb").is_file()
    except OSError:  # loading it gives the reason
        return True


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """Status of a version; `state` is one of TensorFlow Serving's names."""

    version: int
    state: str
    error: str = ""


@dataclasses.dataclass(frozen=True)
class _Failure:
    """A version that could not be loaded.

    Attributes:
        files: files of the version, as `_describe_files` returns them.
        attempts: number of attempts to load these files.
        next_time: earliest time of the next attempt, on `time.monotonic`'s clock.
    """

    files: tuple[tuple[str, int, int], ...]
    attempts: int
    next_time: float


def _describe_files(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return the path, modification time and size of all files in `folder`; () if they cannot be read."""
    try:
        return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in sorted(folder.rglob("*")))
    except OSError:  # for example, it is being removed
        return ()


class ModelManager:
    """The loaded versions of one model.

    A request keeps its version, so a version can be replaced while requests run.

    Args:
        name: the model's name in requests.
        base: folder with the version folders 1, 2, ...; nothing outside it is read.
        policy: selects the versions to serve.
        load_version: loads a version folder and warms the model up.
        labels: version by label, such as "stable".

    Raises:
        OSError: `base` is not a folder of versions.
    """

    def __init__(
        self,
        name: str,
        base: Path,
        policy: VersionPolicy,
        load_version: Callable[[Path], ServedModel],
        labels: Mapping[str, int],
    ):
        self.name, self.base = name, base
        self._policy, self._load_version, self._labels = policy, load_version, dict(labels)
        self._models: dict[int, ServedModel] = {}
        self._statuses: dict[int, VersionStatus] = {}
        self._failures: dict[int, _Failure] = {}
        self._refreshing = threading.Lock()
        self._is_serving = False
        if not base.is_dir():
            raise OSError(f"base path {base} is not a folder; write one with sg3tf export")
        if (base / "saved_model.pb").is_file():
            above = base.absolute().parent
            raise OSError(f"base path {base} is one version; give the folder of all versions, {above}")

    def load(self) -> None:
        """Load the first versions.

        Raises:
            OSError: there is no version to serve, none can be loaded, or a label names a version that is not served.
        """
        self.refresh()
        if not self._models:
            raise OSError(self._nothing_loaded())
        try:
            _check_labels(self._labels, self._models)
        except RequestError as error:
            raise OSError(str(error)) from error
        self._is_serving = True
        for status in self._statuses.values():
            _log(self.name, status)

    def refresh(self) -> None:
        """Load the versions that the policy selects, then unload the others.

        Old versions stay until all selected ones are loaded, and as long as the folder has none of the selected ones.
        Loading a version that failed is retried when its files change, and a few times if they do not.

        Raises:
            OSError: the folder cannot be read.
        """
        with self._refreshing:
            folders = version_folders(self.base)
            selected = self._policy.choose(folders)
            for number in selected:
                if number not in self._models and self._should_retry(number, folders[number]):
                    model = self._try_to_load(number, folders[number])
                    if model:
                        self._publish({number: model})
            if selected and all(number in self._models for number in selected):
                self._unload_all_but(selected)

    def reconfigure(self, policy: VersionPolicy, labels: Mapping[str, int], caller: Caller = _NO_CALLER) -> None:
        """Load all versions that `policy` selects and unload the others, or change nothing.

        Args:
            policy: selects the versions from now on.
            labels: version by label from now on.
            caller: the client; after its deadline, it takes the call for failed, so nothing may change.

        Raises:
            RequestError: UNAVAILABLE, if the folder cannot be read; FAILED_PRECONDITION, if it lacks a selected
                version, or one cannot be loaded, or a label names a version that is not selected; and what
                `caller.check` raises.
        """
        with self._refreshing:
            try:
                folders = version_folders(self.base)
            except OSError as error:
                message = f"the base path cannot be read: {error}"
                raise RequestError(grpc.StatusCode.UNAVAILABLE, message) from error
            selected = policy.choose(folders)
            missing = sorted(policy.specific - set(folders))
            if missing:
                raise _failed(f"base path {self.base} has no versions {', '.join(map(str, missing))}")
            if not selected:
                raise _failed(f"base path {self.base} has no version folder")
            _check_labels(labels, selected)
            # All are loaded before any of them answers requests: if one fails, none must answer.
            loaded: dict[int, ServedModel] = {}
            errors = []
            for number in selected:
                if number in self._models:
                    continue
                model = self._try_to_load(number, folders[number])
                if model:
                    loaded[number] = model
                else:
                    errors.append(self._statuses[number].error)
            try:
                if errors:
                    raise _failed("; ".join(errors))
                caller.check()
            except RequestError:
                for number in loaded:
                    self._set_status(VersionStatus(number, "END"))
                raise
            self._publish(loaded)
            self._unload_all_but(selected)
            self._policy, self._labels = policy, dict(labels)

    def find(self, name: str, version: Version) -> ServedModel:
        """Return a version by number or label, or the newest one if `version` is None.

        Raises:
            RequestError: NOT_FOUND, for an unknown name or version; INVALID_ARGUMENT, for an unknown label.
        """
        self._check_name(name)
        models = self._models
        number = max(models) if version is None else self._number(version)
        if number not in models:
            raise self._no_such_version(name, number)
        return models[number]

    def statuses(self, name: str, version: Version) -> list[VersionStatus]:
        """Return the status of all versions, oldest first, or of `version` alone.

        Raises:
            RequestError: NOT_FOUND, for an unknown name or version; INVALID_ARGUMENT, for an unknown label.
        """
        self._check_name(name)
        statuses = self._statuses
        if version is None:
            return [statuses[number] for number in sorted(statuses)]
        number = self._number(version)
        if number not in statuses:
            raise self._no_such_version(name, number)
        return [statuses[number]]

    def _number(self, version: int | str) -> int:
        if isinstance(version, int):
            return version
        if version not in self._labels:
            known = ", ".join(sorted(self._labels)) or "none"
            raise invalid(f"Unrecognized servable version label: {version}; the labels of {self.name!r} are: {known}")
        return self._labels[version]

    def _should_retry(self, number: int, folder: Path) -> bool:
        failure = self._failures.get(number)
        if failure is None or failure.files != _describe_files(folder):
            return True
        return failure.attempts <= _MAX_RETRIES and time.monotonic() >= failure.next_time

    def _try_to_load(self, number: int, folder: Path) -> ServedModel | None:
        """Return the version, which does not answer requests yet, or None if it cannot be loaded."""
        before, failure = self._statuses.get(number), self._failures.pop(number, None)
        files = _describe_files(folder)
        self._set_status(VersionStatus(number, "LOADING"), log=before is None)
        try:
            return self._load_version(folder)
        except Exception as error:
            # An error in a new version must not stop the working ones.
            reason = " ".join(str(error).split()) or type(error).__name__
            status = VersionStatus(number, "END", f"{folder} cannot be loaded: {reason}")
            self._set_status(status, log=status != before)
            attempts = 1 + (failure.attempts if failure and failure.files == files else 0)
            self._failures[number] = _Failure(files, attempts, time.monotonic() + _RETRY_SECONDS)
            return None

    def _publish(self, models: dict[int, ServedModel]) -> None:
        # Readers do not lock, so a change replaces the dictionary instead of modifying it.
        self._models = self._models | models
        for number in models:
            self._set_status(VersionStatus(number, "AVAILABLE"))

    def _unload_all_but(self, selected: list[int]) -> None:
        ended = set(self._models) - set(selected)
        self._models = {number: model for number, model in self._models.items() if number in selected}
        for number in ended:
            self._set_status(VersionStatus(number, "END"))

    def _set_status(self, status: VersionStatus, log: bool = True) -> None:
        self._statuses = self._statuses | {status.version: status}
        if log and self._is_serving:  # `load` logs the first versions, or raises
            _log(self.name, status)

    def _check_name(self, name: str) -> None:
        if name != self.name:
            message = f"Servable not found for request: Latest({name})"
            raise not_found(f"{message}; this server has the model {self.name!r}")

    def _no_such_version(self, name: str, version: int) -> RequestError:
        known = ", ".join(str(number) for number in sorted(self._models))
        message = f"Servable not found for request: Specific({name}, {version})"
        return not_found(f"{message}; the versions served are {known}")

    def _nothing_loaded(self) -> str:
        errors = [status.error for status in self._statuses.values() if status.error]
        if errors:
            return "; ".join(errors)
        if self._policy.specific:
            selected = ", ".join(map(str, sorted(self._policy.specific)))
            return f"base path {self.base} has none of the versions {selected}"
        return f"base path {self.base} has no version folder; write one with sg3tf export"


def _check_labels(labels: Mapping[str, int], served: Collection[int]) -> None:
    for label, number in labels.items():
        if number not in served:
            known = ", ".join(map(str, sorted(served)))
            raise _failed(f"version_labels has {label!r} for version {number}; the versions served are {known}")


def _failed(message: str) -> RequestError:
    return RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)


def _log(name: str, status: VersionStatus) -> None:
    if status.error:
        _logger.error("%s version %d: %s", name, status.version, status.error)
    else:
        _logger.info("%s version %d: %s", name, status.version, status.state)


class Watcher:
    """A thread that refreshes a ModelManager periodically until `stop`."""

    def __init__(self, models: ModelManager, seconds: float):
        self._models, self._seconds = models, seconds
        self._stopped = threading.Event()
        # A daemon thread, so that a long load does not delay the process's exit.
        threading.Thread(target=self._watch, name="versions", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        logged = ""
        while not self._stopped.wait(self._seconds):
            try:
                self._models.refresh()
                logged = ""
            except OSError as error:
                if str(error) != logged:
                    _logger.error("the base path cannot be read: %s", error)
                logged = str(error)
