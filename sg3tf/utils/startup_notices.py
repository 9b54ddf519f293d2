"""TensorFlow's start-up notices on stderr, which say nothing about the program, are left out; all else is forwarded."""

from __future__ import annotations

import importlib.abc
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: Environment variable that lets notices through, and errors end in a traceback.
DEBUG = "SG3TF_DEBUG"

# The processor's instructions, and that there is no NVIDIA driver (CUDA error 303: no libcuda) or no card (100).
# Another failure of cuInit is that of a card that is there. Where oneDNN has no kernel, TensorFlow's own is used.
_NOTICES = re.compile(
    rb"^[IW]0000 .*\.cc:\d+\] "
    rb"|^E0000 .*cuInit.*(\(303\)|\(100\)|CUDA_ERROR_NO_DEVICE)"
    rb"|^E0000 .*oneDNN supports DT_\w+ only on "
    rb"|^WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|^To enable the following instructions: "
)


def hide() -> None:
    """Hide the notices of TensorFlow for the whole process: now, or when it is imported, directly or by Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # those that heed it; errors still show
    if "tensorflow" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finder that leaves TensorFlow to the other finders, and filters stderr during its import."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            _import_quietly(spec.loader)
        return spec


def _import_quietly(loader: Any) -> None:
    exec_module = loader.exec_module

    def execute(module: ModuleType) -> None:
        with filtered_stderr():
            exec_module(module)
            module.config.list_physical_devices()  # here, because the first use of a driver prints notices

    loader.exec_module = execute


@contextmanager
def filtered_stderr() -> Iterator[None]:
    """Keep what the block writes to stderr, file descriptor 2, and write it at its end without the notices.

    With an exception, or with SG3TF_DEBUG set, the notices are written too.
    """
    if os.environ.get(DEBUG) or sys.stderr is None:  # None where it was closed before the start
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    notices: re.Pattern[bytes] | None = _NOTICES
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            yield
        except BaseException:
            notices = None
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            printed.seek(0)
            for line in printed:
                if not (notices and notices.search(line)):
                    os.write(2, line)
