"""TensorFlow's notices about the machine are left out; everything else on stderr is forwarded."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from sg3tf.utils.startup_notices import filtered_stderr

NOTICES = b"""WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795868462.7 32036 port.cc:153] oneDNN custom operations are on.
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.
E0000 00:00:1795868464.1 32036 cuda_platform.cc:52] failed call to cuInit: UNKNOWN ERROR (303)
E0000 00:00:1795868464.1 32036 util.cc:131] oneDNN supports DT_INT64 only on platforms with AVX-512. Falling back.
E0000 00:00:1795868464.1 32036 node_def.cc:6] NodeDef mentions attribute T which is not in the op definition: Op<
"""
OTHER_LINES = b"""E0000 00:00:1795868464.1 1 cuda_platform.cc:52] failed call to cuInit: system not ready (802)
DeprecationWarning: 'old' is deprecated
"""


def test_startup_notices_are_hidden_and_all_else_is_forwarded(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with filtered_stderr():
        os.write(2, NOTICES + OTHER_LINES + b"no newline")
    assert capfd.readouterr().err == OTHER_LINES.decode() + "no newline"
    with pytest.raises(ImportError), filtered_stderr():
        os.write(2, NOTICES)
        raise ImportError
    assert capfd.readouterr().err == NOTICES.decode()
    monkeypatch.setenv("SG3TF_DEBUG", "1")
    with filtered_stderr():
        os.write(2, NOTICES)
    assert capfd.readouterr().err == NOTICES.decode()


def test_a_process_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)  # as after 2>&-
    with filtered_stderr():
        pass


def test_a_process_without_a_folder_for_temporary_files(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: os.open("/nonexistent/file", os.O_WRONLY))
    with filtered_stderr():
        os.write(2, NOTICES)
    assert capfd.readouterr().err == NOTICES.decode()


# The import through Keras, the first operation, the first use of XLA, and an error.
PROGRAM = """
import os, sys
from sg3tf.utils import command_line

def main(options):
    import keras, tensorflow as tf
    tf.nn.conv2d(tf.ones([1, 8, 8, 1]), tf.ones([3, 3, 1, 1]), 1, 'SAME')
    tf.function(lambda x: x + 1, jit_compile=True)(tf.ones([2]))
    os.write(2, b'E0000 00:00:1 1 a.cc:1] out of memory\\n')

sys.exit(command_line.run('program', main, lambda options: None, '', []))
"""


def test_a_program_starts_without_a_notice() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    process = subprocess.run([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, text=True, env=environment)
    assert (process.returncode, process.stderr) == (0, "E0000 00:00:1 1 a.cc:1] out of memory\n")
