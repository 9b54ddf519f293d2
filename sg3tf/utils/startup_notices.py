"""Suppress TensorFlow's start-up notices on stderr, which say nothing about the program; forward everything else."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from sg3tf.utils.import_hook import Execute, ImportHook

#: Environment variable that lets notices through, and makes errors end in a traceback.
DEBUG = "SG3TF_DEBUG"

# CPU instructions; no NVIDIA driver (CUDA error 303: no libcuda) or no GPU (100). Other cuInit failures concern an
# existing GPU. Where oneDNN has no kernel, TensorFlow uses its own. The LiteRT converter reads graphs of an older
# version than it has checked.
_NOTICES = re.compile(
    rb"^[IW]0000 .*\.cc:\d+\] "
    rb"|^E0000 .*cuInit.*(\(303\)|\(100\)|CUDA_ERROR_NO_DEVICE)"
    rb"|^E0000 .*oneDNN supports DT_\w+ only on "
    rb"|^E0000 .*NodeDef mentions attribute \w+ which is not in the op definition"
    rb"|^WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|^To enable the following instructions: "
)


def hide() -> None:
    """Hide TensorFlow's notices for the whole process: now, or when it is imported, directly or by Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # for notices that respect it; errors still show
    ImportHook("tensorflow", _import_quietly).install()


def _import_quietly(execute: Execute, module: ModuleType) -> None:
    with filtered_stderr():
        execute(module)
        module.config.list_physical_devices()  # here, because the first use of a driver prints notices


@contextmanager
def filtered_stderr() -> Iterator[None]:
    """Buffer what the block writes to stderr (file descriptor 2), and write it at the end without the notices.

    After an exception, with SG3TF_DEBUG set, or without a temporary folder, the notices are written, too.
    """
    if os.environ.get(DEBUG) or sys.stderr is None:  # None if it was closed before the start
        yield
        return
    try:
        kept = tempfile.TemporaryFile()  # noqa: SIM115  # closed below
    except OSError:  # as in a container with a read-only file system
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    notices: re.Pattern[bytes] | None = _NOTICES
    with kept as printed:
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
