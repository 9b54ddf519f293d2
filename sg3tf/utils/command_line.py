"""Run a program: parse its flags, print its --help, and report every expected error in one line on stderr."""

from __future__ import annotations

import difflib
import errno
import io
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence

from absl import flags

from sg3tf.utils import extras, files, startup_notices
from sg3tf.utils.errors import ExpectedError
from sg3tf.utils.output import discard_lost_output
from sg3tf.utils.startup_notices import DEBUG

#: Errors by users, files and connections, diverging computations, lack of memory, and missing optional packages.
FORESEEN = (ValueError, OSError, ArithmeticError, ImportError, MemoryError, ExpectedError, flags.Error)

#: Flags of other StyleGAN programs, and of unreleased versions of these, with their names here.
FLAGS_ELSEWHERE = {
    "angle": "rotate",
    "batch_gpu": "batch_per_replica",
    "class_idx": "class",
    "dest": "outdir",
    "gpus": "strategy",
    "label": "class",
    "licence": "license",
    "model": "network",
    "network_pkl": "network",
    "noise_mode": "noise",
    "num": "num_samples",
    "num_steps": "steps",
    "output": "out",
    "psi": "trunc",
    "samples": "num_samples",
    "save_video": "video",
    "shift": "translate",
    "styles": "layers",
    "subset": "max_images",
    "truncation": "trunc",
    "truncation_psi": "trunc",
    "trunc_psi": "trunc",
    "w_frames": "frames",
}

#: Flags of all programs that name local files and folders. `run` expands ~ in them, which shells do not do after "=".
PATH_FLAGS = (
    "api_key_file",
    "batching_parameters_file",
    "cache_dir",
    "data",
    "detector_dir",
    "directions",
    "discriminator",
    "label_latents",
    "labels",
    "latents",
    "model_base_path",
    "model_config_file",
    "out",
    "outdir",
    "resume",
    "save_directions",
    "save_latents",
    "source",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_key_file",
    "target",
    "tune",
    "video",
)

#: Flags that take seeds or the name of an .npz file of latents; `run` expands ~ in them, too.
SEEDS_OR_FILE_FLAGS = ("cols", "rows")

_WIDTH = 100


def run(
    name: str,
    main: Callable[..., int | None],
    define_flags: Callable[[flags.FlagValues], None],
    description: str,
    argv: Sequence[str] | None = None,
    *,
    positional: str = "",
) -> int:
    """Parse the flags and call `main`.

    Args:
        name: the program's name in usage and error lines, such as "sg3tf metrics".
        main: takes the parsed flags and, if `positional` is set, the list of positional arguments; returns the exit
            status, or None for 0.
        define_flags: defines the program's flags in the given FlagValues.
        description: text that --help prints above the flags.
        argv: arguments without the program's name; None for those of the process.
        positional: name of the positional arguments in the usage line, such as "FILE..."; empty if none are accepted.

    Returns:
        The exit status; see `exit_status`.
    """

    def parse_and_run() -> int | None:
        options = flags.FlagValues()
        define_flags(options)
        arguments = [name, *(sys.argv[1:] if argv is None else argv)]
        if any(argument in ("--help", "-help", "-h") for argument in arguments):
            print(help_text(name, options, description, positional))
            return 0
        try:
            rest = options(arguments)[1:]
        except flags.UnrecognizedFlagError as error:
            raise ValueError(_unknown_flag(error.flagname, options)) from error
        except flags.IllegalFlagValueError as error:
            missing = re.findall(r"Flag --(\S+) must have a value other than None", str(error))
            if not missing:
                raise
            raise ValueError(" ".join(f"--{flag} is missing: {options[flag].help}" for flag in missing)) from error
        _expand_paths(options)
        if rest and not positional:
            raise ValueError(f"unexpected argument {rest[0]!r}: options are written --name=value")
        try:
            return main(options, rest) if positional else main(options)
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            raise MemoryError(_out_of_memory(options)) from error

    return exit_status(name, parse_and_run)


def exit_status(name: str, function: Callable[[], int | None]) -> int:
    """Call `function` without TensorFlow's start-up notices, and print expected errors as "NAME: message" on stderr.

    With SG3TF_DEBUG=1, the error is raised instead, with its traceback.

    Args:
        name: the program's name.
        function: returns the exit status, or None for 0.

    Returns:
        The status of `function`; 1 after an expected error; 130 after Ctrl-C.
    """
    startup_notices.hide()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the locale cannot encode must not end a program; pipes and log files show every line at once.
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        status = function() or 0
        if sys.stdout:  # None if it was closed before the start
            sys.stdout.flush()  # a full disk or a closed pipe is reported here rather than at the interpreter's exit
        return status
    except BrokenPipeError:  # the reader of stdout has exited, as `head` does
        discard_lost_output()
        return 1
    except KeyboardInterrupt as error:
        if os.environ.get(DEBUG):
            raise
        _print_line(name, str(error) or "interrupted")
        return 130
    except Exception as error:
        if os.environ.get(DEBUG) or not (isinstance(error, FORESEEN) or is_file_error(error)):
            raise
        message = str(error) or type(error).__name__
        if isinstance(error, ModuleNotFoundError) and (remedy := extras.remedy(error)):
            message += f": {remedy}"
        _print_line(name, message)
        discard_lost_output()
        return 1


def help_text(name: str, options: flags.FlagValues, description: str, positional: str) -> str:
    """Return the output of --help: usage, description, and each flag with its help, values and default."""
    lines = [f"usage: {' '.join(filter(None, [name, positional, '--flag=value ...']))}", "", description.strip(), ""]
    for flag_name in sorted(options):
        flag = options[flag_name]
        if flag.name != flag_name:  # a short name
            continue
        text = flag.help or ""
        if flag.default_as_str is not None:
            text += f" (default: {flag.default_as_str})"
        lines.append(f"  --{'[no]' if flag.boolean else ''}{flag_name}")
        lines.append(textwrap.fill(text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6))
    return "\n".join(lines)


def _expand_paths(options: flags.FlagValues) -> None:
    files_of_latents = [
        name for name in SEEDS_OR_FILE_FLAGS if name in options and options[name].value.endswith(".npz")
    ]
    for name in (*PATH_FLAGS, *files_of_latents):
        if name in options and options[name].value and isinstance(options[name].value, str):  # empty: none
            try:
                options[name].value = str(files.local_path(options[name].value))
            except ValueError as error:
                raise ValueError(f"--{name}={error}") from error
    for name in ("network", "init_from"):  # may be an address
        value = options[name].value if name in options else None
        if isinstance(value, str):
            options[name].value = os.path.expanduser(value)
        elif isinstance(value, list):
            whole = os.path.expanduser(",".join(value))  # a path with commas, which the flag parser has split
            options[name].value = [whole] if os.path.exists(whole) else [os.path.expanduser(item) for item in value]


def _unknown_flag(name: str, options: flags.FlagValues) -> str:
    spelled = name.replace("-", "_")
    nearest = [FLAGS_ELSEWHERE.get(spelled, "")] + difflib.get_close_matches(spelled, list(options), n=1)
    known = [flag for flag in nearest if flag in options]
    return f"unknown flag --{name}; " + (f"did you mean --{known[0]}?" if known else "--help lists the flags")


def _is_out_of_memory(error: Exception) -> bool:
    """Return True for tf.errors.ResourceExhaustedError, unless it is about a disk; TensorFlow may not be imported."""
    return type(error).__name__ == "ResourceExhaustedError" and not is_file_error(error)


def _out_of_memory(options: flags.FlagValues) -> str:
    remedy = "use a machine with more, or a smaller network"
    for name in ("batch_per_replica", "batch"):
        if name in options and options[name].value != 1:
            remedy = f"use a smaller --{name}, such as 1"
            break
    return f"too little memory on the device; {remedy}"


def _print_line(name: str, message: str) -> None:
    lines = [line.strip() for line in message.splitlines()]
    print(f"{name}: {' '.join(filter(None, lines))}", file=sys.stderr)


def is_file_error(error: Exception) -> bool:
    """Return True for disk errors that TensorFlow and HDF5 raise under their own types."""
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO)
    texts = [os.strerror(number) for number in numbers]
    return any(text in str(error) for text in texts)
