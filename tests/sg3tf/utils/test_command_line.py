"""Programs: flags, --help, and how errors end them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from absl import flags

from sg3tf.utils import command_line
from sg3tf.utils.errors import ExpectedError


def define_flags(options: flags.FlagValues) -> None:
    flags.DEFINE_string("network", None, "Generator to load.", required=True, flag_values=options)
    flags.DEFINE_integer("batch", 8, "Images at a time.", lower_bound=1, short_name="b", flag_values=options)
    flags.DEFINE_bool("crop", False, "Crop the image.", flag_values=options)


def run(main, *argv: str, **settings) -> int:
    return command_line.run("sg3tf draw", main, define_flags, "Draw an image.", argv, **settings)


def test_flags_and_positional_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def main(options: flags.FlagValues, files: list[str]) -> None:
        seen.append((options.network, options.batch, options.crop, files))

    assert run(main, "--network=x", "a", "-b", "3", "b", "--crop", positional="FILE...") == 0
    assert seen == [("x", 3, True, ["a", "b"])]
    assert run(lambda options: 3, "--network=x") == 3
    assert capsys.readouterr() == ("", "")
    assert set(flags.FLAGS).isdisjoint({"network", "crop"})  # other programs of the process are left alone


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda options: pytest.fail("was called"), "--help") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "usage: sg3tf draw --flag=value ...",
        "",
        "Draw an image.",
        "",
        "  --batch",
        "      Images at a time. (default: '8')",
        "  --[no]crop",
        "      Crop the image. (default: 'false')",
        "  --network",
        "      Generator to load.",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--network is missing: Generator to load."),
        (["--network=x", "--batch=0"], "flag --batch=0: 0 is not a positive integer"),
        (["--netwrk=x"], "unknown flag --netwrk; did you mean --network?"),
        (["--network_pkl=x"], "unknown flag --network_pkl; did you mean --network?"),
        (["--model=x"], "unknown flag --model; did you mean --network?"),
        (["--psi=1"], "unknown flag --psi; --help lists the flags"),
        (["--network=x", "y"], "unexpected argument 'y': options are written --name=value"),
    ],
)
def test_wrong_flags(capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    assert run(lambda options: pytest.fail("was called"), *argv) == 1
    assert capsys.readouterr() == ("", f"sg3tf draw: {message}\n")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("seeds=x:\n  give numbers\n"), 1, "seeds=x: give numbers"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.png"), 1, "[Errno 28] No space left on device: 'a.png'"),
        (PermissionError(errno.EACCES, "Permission denied"), 1, "[Errno 13] Permission denied"),
        (RuntimeError("file write failed: errno = 28, error message = 'No space left on device'"), 1, "file write"),
        (ModuleNotFoundError("plots need matplotlib"), 1, "plots need matplotlib"),
        (FloatingPointError("the loss is nan"), 1, "the loss is nan"),
        (MemoryError("Unable to allocate 1.00 TiB"), 1, "Unable to allocate 1.00 TiB"),
        (ExpectedError("stopped"), 1, "stopped"),
        (ValueError(), 1, "ValueError"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("3 frames are kept"), 130, "3 frames are kept"),
    ],
)
def test_foreseen_errors(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    line: str,
) -> None:
    def fail() -> None:
        raise error

    assert command_line.exit_status("sg3tf draw", fail) == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"sg3tf draw: {line}") and err.count("\n") == 1
    monkeypatch.setenv("SG3TF_DEBUG", "1")
    with pytest.raises(type(error)):
        command_line.exit_status("sg3tf draw", fail)


class ResourceExhaustedError(Exception):
    """As TensorFlow's, which need not be imported."""


def test_a_device_without_enough_memory(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def main(options: flags.FlagValues) -> None:
        raise ResourceExhaustedError("{{function_node x}} OOM when allocating tensor\nmore")

    assert run(main, "--network=x") == run(main, "--network=x", "--batch=1") == 1
    problem = "sg3tf draw: too little memory on the device"
    remedies = ["use a smaller --batch, such as 1", "use a machine with more, or a smaller network"]
    assert capsys.readouterr().err.splitlines() == [f"{problem}; {remedy}" for remedy in remedies]
    monkeypatch.setenv("SG3TF_DEBUG", "1")
    with pytest.raises(MemoryError) as raised:
        run(main, "--network=x")
    assert isinstance(raised.value.__cause__, ResourceExhaustedError)


@pytest.mark.parametrize("error", [KeyError("bug"), RuntimeError("generator raised StopIteration")])
def test_unforeseen_errors_are_raised(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        command_line.exit_status("sg3tf draw", fail)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_standard_output_that_cannot_be_written() -> None:
    code = (
        "import sys; from sg3tf.utils.command_line import exit_status; sys.exit(exit_status('draw', lambda: print(1)))"
    )
    with open("/dev/full", "w") as full:
        process = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (process.returncode, process.stderr) == (1, "draw: [Errno 28] No space left on device\n")
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (process.returncode, process.stderr) == (1, "")


def test_lines_are_written_at_once() -> None:
    """Training prints a line in minutes, and log files and `tee` show it then."""
    code = "import os; from sg3tf.utils import command_line as c; c.exit_status('a', lambda: print('x') or os._exit(3))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "x\n"), done.stderr


def test_closed_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as after `>&-` in a shell
    assert run(lambda options: None, "--network=x") == 0
    assert run(lambda options: None) == 1
    assert capsys.readouterr().err == "sg3tf draw: --network is missing: Generator to load.\n"


def test_paths_of_flags_are_local_and_without_tilde(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def define(options: flags.FlagValues) -> None:
        for name in ("outdir", "network", "seeds"):
            flags.DEFINE_string(name, None, "", flag_values=options)

    seen = []
    monkeypatch.setenv("HOME", "/home/me")
    argv = ["--outdir=~/out", "--network=~/G.keras", "--seeds=~/0"]
    assert (
        command_line.run("draw", lambda options: seen.extend(options.flag_values_dict().values()), define, "", argv)
        == 0
    )
    assert set(seen) == {"/home/me/out", "/home/me/G.keras", "~/0"}
    assert command_line.run("draw", seen.append, define, "", ["--outdir=gs://bucket/x"]) == 1
    assert capsys.readouterr().err.startswith("draw: --outdir=gs://bucket/x: give a local path")
    assert command_line.run("draw", seen.append, define, "", ["--network=grpc://host:1/x"]) == 0


def test_files_of_latents_beside_seeds_are_without_tilde(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sg3tf.cli.generate import mix

    def parsed(*argv: str) -> list[str]:
        seen: list[str] = []
        argv = ("--network=n", "--out=o.png", *argv)
        assert command_line.run("mix", lambda o: seen.extend([o.rows, o.cols]), mix.define_flags, "", argv) == 0
        return seen

    monkeypatch.setenv("HOME", "/home/me")
    assert parsed("--rows=~/a.npz", "--cols=~/b/c.npz") == ["/home/me/a.npz", "/home/me/b/c.npz"]
    assert parsed("--rows=4, 5-7") == ["4, 5-7", "4-9"]
    argv = ["--network=n", "--out=o.png", "--cols=gs://bucket/b.npz"]
    assert command_line.run("mix", lambda options: None, mix.define_flags, "", argv) == 1
    assert capsys.readouterr().err.startswith("mix: --cols=gs://bucket/b.npz: give a local path")


def test_lists_of_networks_are_without_tilde_and_may_have_commas_in_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A path with commas that exists is one; otherwise, a comma is between two."""

    def networks(text: str) -> list[str]:
        seen: list[Any] = []
        argv = [f"--network={text}"]
        assert command_line.run("draw", lambda options: seen.append(options.network), define, "", argv) == 0
        return list(seen[0])

    def define(options: flags.FlagValues) -> None:
        flags.DEFINE_list("network", None, "", flag_values=options)

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a,b.keras").touch()
    assert networks("~/a.keras,b.keras,~/c") == [f"{tmp_path}/a.keras", "b.keras", f"{tmp_path}/c"]
    for name in (f"{tmp_path}/a,b.keras", "~/a,b.keras"):
        assert networks(name) == [f"{tmp_path}/a,b.keras"]
    assert networks('"~/a,b.keras",c') == [f"{tmp_path}/a,b.keras", "c"]


def test_an_empty_path_stays_empty() -> None:
    seen: list[str] = []

    def define(options: flags.FlagValues) -> None:
        flags.DEFINE_string("data", "", "Folder; empty: none.", flag_values=options)

    assert command_line.run("draw", lambda options: seen.append(options.data), define, "", []) == 0
    assert seen == [""]


def test_a_locale_that_lacks_letters_ends_no_program() -> None:
    code = """
from sg3tf.utils.command_line import exit_status
raise SystemExit(exit_status("sg3tf", lambda: print("caf\\u00e9 \\udcff")))
"""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "caf\\xe9 \\udcff\n", "")
