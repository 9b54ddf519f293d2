"""Flags for the options of a training run, generated from the fields of Options."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from absl import flags

from sg3tf.utils import flags as shared
from trainer.config import DEFAULTS, FIELDS, Options, as_flag
from trainer.errors import OptionError


def define_flags(values: flags.FlagValues) -> None:
    """Define a flag for every option that has one."""
    types = typing.get_type_hints(Options)
    for name, default in DEFAULTS.items():
        field = FIELDS[name]
        help_text, choices = _help(field), field.metadata["choices"]
        kind = next(t for t in (typing.get_args(types[name]) or (types[name],)) if t is not type(None))
        if name == "resolution":
            shared.define_resolution(values, help_text)
        elif typing.get_origin(types[name]) is tuple:
            flags.DEFINE_list(name, None if default is None else list(default), help_text, flag_values=values)
        elif choices:
            flags.DEFINE_enum(name, default, choices, help_text, flag_values=values)
        elif kind is bool:
            flags.DEFINE_bool(name, default, help_text, flag_values=values)
        elif kind is int:
            flags.DEFINE_integer(name, default, help_text, flag_values=values)
        elif kind is float:
            flags.DEFINE_float(name, default, help_text, flag_values=values)
        else:
            flags.DEFINE_string(name, default, help_text, flag_values=values)


def given_options(values: flags.FlagValues) -> dict[str, Any]:
    """Options that were given as flags, by name.

    Raises:
        OptionError: a list of numbers contains something else.
    """
    given = {name: values[name].value for name in DEFAULTS if not values[name].using_default_value}
    if "metrics" in given:
        given["metrics"] = () if given["metrics"] == ["none"] else tuple(given["metrics"])
    if "profile_steps" in given:
        try:
            given["profile_steps"] = tuple(int(number) for number in given["profile_steps"])
        except ValueError:
            text = ",".join(given["profile_steps"])
            raise OptionError(f"--profile_steps={text}: give whole numbers, such as 20,25") from None
    return given


def check_given(given: Mapping[str, Any], options: Options) -> None:
    """Refuse given options that have no effect with the --aug of `options`.

    Raises:
        OptionError: an option has no effect.
    """
    for name, value in given.items():
        only_with = FIELDS[name].metadata["only_with_aug"]
        if only_with and options.aug not in only_with:
            raise OptionError(
                f"--{name}={as_flag(value)}: has no effect with --aug={options.aug}; leave it out, or use "
                f"--aug={' or '.join(only_with)}"
            )


def default_text(field: dataclasses.Field[Any]) -> str:
    """Description of a field's default."""
    by_cfg = field.metadata["default_by_cfg"]
    if by_cfg:
        usual = by_cfg["stylegan3-t"]
        others = {value: [cfg for cfg in by_cfg if by_cfg[cfg] == value] for value in by_cfg.values() if value != usual}
        return "; ".join([f"{usual:g}", *(f"{value:g} with {', '.join(cfgs)}" for value, cfgs in others.items())])
    if field.metadata["default_text"]:
        return str(field.metadata["default_text"])
    if field.default is dataclasses.MISSING:
        return "required"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if isinstance(field.default, float):
        return f"{field.default:g}"
    return "none" if field.default in (None, (), "") else str(field.default)


def _help(field: dataclasses.Field[Any]) -> str:
    """Help text of a flag, with its default if computed; absl adds other defaults."""
    text: str = field.metadata["help"]
    if field.metadata["resumable"]:
        text += " May change with --resume."
    if default_text(field) == "required":
        text += " Required, except with --resume=PATH."
    elif DEFAULTS[field.name] is None:
        text += f" (default: {default_text(field)})"
    return text
