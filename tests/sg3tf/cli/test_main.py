"""The console script: its table of commands, help, and unknown names."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from absl import flags

from sg3tf.cli import main as cli
from sg3tf.cli.main import COMMANDS, GROUPS, main
from sg3tf.utils.command_line import PATH_FLAGS
from sg3tf.utils.errors import ExpectedError
from sg3tf.version import __version__

ROOT = Path(__file__).parents[3]

#: Flags of one meaning, and the names that they have in no program.
OTHER_NAMES = {"model", "run", "client", "psi", "label", "num", "samples", "dest", "angle", "shift", "server"}


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not command.registered])
def test_every_command_has_help_and_flags_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and out.startswith(f"usage: sg3tf {name} ")
    assert f"sg3tf {name}" in out.split("\n", 1)[1] or name == "doctor"  # an example
    options = flags.FlagValues()
    command = COMMANDS[name]
    importlib.import_module(command.module).define_flags(options)
    assert not OTHER_NAMES & set(options)
    for flag in options:
        assert f"\n  --{'[no]' if options[flag].boolean else ''}{flag}\n" in out
        assert options[flag].help[0].isupper() or options[flag].help[0] == "." or ":" in options[flag].help
    assert not {"network", "out", "outdir"} & set(flags.FLAGS)  # absl's own registry is for other programs


@pytest.mark.parametrize(
    "module",
    [command.module for command in COMMANDS.values() if command.module != "serving.server"]
    + ["serving.server.__main__"],
)
def test_flags_that_name_files_take_a_tilde(module: str) -> None:
    options = flags.FlagValues()
    importlib.import_module(module).define_flags(options)
    assert {name for name in options if name.endswith(("_file", "_dir", "_path"))} <= set(PATH_FLAGS)


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, command in COMMANDS.items():
        first = name.split()[0]
        assert f"\n  {first:16}  {GROUPS.get(first, command.summary)}\n" in out
    assert main([]) == 1
    assert capsys.readouterr() == ("", out)
    for group, summary in GROUPS.items():
        assert main([group, "--help"]) == 0
        out = capsys.readouterr().out
        commands = [name.split()[1] for name in COMMANDS if name.startswith(f"{group} ")]
        assert summary.endswith(f": {', '.join(commands)}.")
        assert all(f"\n  {command} " in out for command in commands)
        assert main([group]) == 1
        assert capsys.readouterr() == ("", out)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["trian"], "sg3tf: unknown command 'trian'; did you mean train?"),
        (["generat", "grid"], "sg3tf: unknown command 'generat'; did you mean generate?"),
        (["generate", "gird"], "sg3tf generate: unknown command 'gird'; did you mean grid?"),
        (["interpolate"], "sg3tf: unknown command 'interpolate'; did you mean generate interpolate?"),
        (["verify"], "sg3tf: unknown command 'verify'; did you mean data verify?"),
        (["xyz"], "sg3tf: unknown command 'xyz'; sg3tf --help lists the commands"),
        (["data", "--xyz"], "sg3tf data: unknown command '--xyz'; sg3tf data --help lists the commands"),
    ],
)
def test_unknown_commands(capsys: pytest.CaptureFixture[str], argv: list[str], line: str) -> None:
    assert main(argv) == 1
    assert capsys.readouterr() == ("", f"{line}\n")


def test_help_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "data", "build"]) == 0
    assert capsys.readouterr().out.startswith("usage: sg3tf data build ")
    assert main(["help", "data"]) == 0
    assert capsys.readouterr().out.startswith("usage: sg3tf data COMMAND ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sg3tf {__version__}\n"


def test_broken_installations_give_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(options: flags.FlagValues) -> None:
        raise ExpectedError("native operations asked for, but no library: run `make native`")

    monkeypatch.setattr("sg3tf.doctor.command.main", fail)
    assert main(["doctor"]) == 1
    line = "sg3tf doctor: native operations asked for, but no library: run `make native`\n"
    assert capsys.readouterr() == ("", line)


def test_registered_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    entry = SimpleNamespace(load=lambda: lambda argv, name: seen.append((argv, name)) or 3)
    found = {"train": [entry]}
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group, name: found.get(name, []))
    assert main(["train", "--batch=3", "--help"]) == 3
    assert seen == [(["--batch=3", "--help"], "sg3tf train")]
    assert main(["serve"]) == 1
    assert capsys.readouterr().err == (
        "sg3tf serve: this installation registers no such command; pip install it again, "
        "or use python -m serving.server\n"
    )


def test_entry_points_in_pyproject() -> None:
    """Every registered command names a function main(argv, name)."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"sg3tf": "sg3tf.cli.main:main"}
    registered = project["entry-points"][cli.ENTRY_POINTS]
    assert set(registered) == {name for name, command in COMMANDS.items() if command.registered}
    for name, target in registered.items():
        module = target.partition(":")[0]
        assert module in (COMMANDS[name].module, f"{COMMANDS[name].module}.__main__")
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def test_help_needs_no_tensorflow() -> None:
    check = (
        "import sys; from sg3tf.cli.main import COMMANDS, main\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None  # importing them fails\n"
        "failed = [name for name in COMMANDS if main([*name.split(), '--help'])]\n"
        "sys.exit(', '.join(failed) or 0)"
    )
    process = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_a_reader_that_has_ended_is_no_error_to_show(argument: str) -> None:
    """As in `sg3tf --help | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "sg3tf", argument], cwd=ROOT, stdout=closed, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong input of every command: its name, one line, status 1."""
    missing = tmp_path / "missing"
    for argv in (
        ["generate", "images", f"--network={missing}", f"--outdir={tmp_path / 'o'}"],
        ["generate", "grid", f"--network={missing}", f"--out={tmp_path / 'o.png'}"],
        ["generate", "mix", f"--network={missing}", f"--out={tmp_path / 'o.png'}"],
        ["generate", "interpolate", f"--network={missing}", f"--out={tmp_path / 'o.mp4'}"],
        ["generate", "layers", f"--network={missing}", f"--out={tmp_path / 'o.png'}"],
        ["generate", "sheet", f"--network={missing}", f"--out={tmp_path / 'o.png'}"],
        ["project", f"--network={missing}", f"--target={missing}", f"--outdir={tmp_path / 'o'}"],
        ["edit", f"--network={missing}", f"--out={tmp_path / 'o.png'}"],
        ["metrics", f"--network={missing}", "--metrics=eqt50k_int"],
        ["spectra", "calc", f"--network={missing}", f"--out={tmp_path / 'o.npz'}"],
        ["spectra", "compare", str(missing), str(missing), f"--out={tmp_path / 'o.png'}"],
        ["texture-sticking", f"--network={missing}", f"--outdir={tmp_path / 'o'}"],
        ["convert", "from-pickle", f"--network={missing}", f"--outdir={tmp_path / 'o'}"],
        ["convert", "to-npz", f"--network={missing}", f"--out={tmp_path / 'o.npz'}"],
        ["convert", "to-state-dict", f"--network={missing}", f"--out={tmp_path / 'o.pt'}"],
        ["data", "build", f"--source={missing}", f"--outdir={tmp_path / 'd'}", "--resolution=8"],
        ["data", "verify", f"--data={missing}"],
        ["doctor", "--flag"],
    ):
        name = " ".join(word for word in argv if word[0] != "-" and str(missing) not in word)
        assert main(argv) == 1, argv
        out, err = capsys.readouterr()
        assert out == "" and err.startswith(f"sg3tf {name}: ") and err.count("\n") == 1, err


def test_commands_share_gpus_and_compute_in_full_float32_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert main(["--version"]) == 0
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"


@pytest.mark.parametrize("inside", ["__init__.py", "main.py"])  # a package, or a folder that Python takes for one
@pytest.mark.parametrize("package", ["trainer", "serving"])
def test_a_folder_that_hides_ours_is_named(package: str, inside: str, tmp_path: Path) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / inside).touch()
    name = {"trainer": "train", "serving": "serve"}[package]
    code = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
from sg3tf.cli.main import main
sys.exit(main([{name!r}, "--help"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if inside == "main.py":  # Python prefers a package further down to a folder without __init__.py
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 1
    line = f"{tmp_path / package} hides the package {package} of sg3tf: rename it, or take it out of PYTHONPATH"
    assert done.stderr == f"sg3tf {name}: {line}\n"


def test_averages_are_written_to_keras_files(capsys):
    assert main(["ema", "--network=none", "--sigma_rel=0.1", "--out=ema.h5"]) == 1
    assert "out=ema.h5: give a name that ends in .keras" in capsys.readouterr().err
