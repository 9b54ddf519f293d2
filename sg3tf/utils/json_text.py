"""JSON for values that may not be finite: NaN and infinity, which JSON lacks, are strings, as in protobuf."""

from __future__ import annotations

import json
import math
from typing import Any

_NUMBERS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def to_json(value: Any, indent: int | None = None) -> str:
    """Return JSON, on one line unless `indent` is given.

    Numbers that are not finite become the strings "Infinity", "-Infinity" and "NaN".

    Examples:
        >>> to_json({"psnr": float("inf"), "distance": 0.0})
        '{"psnr": "Infinity", "distance": 0.0}'
    """
    return json.dumps(_with_strings(value), indent=indent, allow_nan=False)


def from_json(text: str) -> Any:
    """Parse the result of `to_json`; bare NaN and Infinity in older files are accepted, too.

    Raises:
        ValueError: the text is not JSON.

    Examples:
        >>> from_json('{"psnr": "Infinity", "older": Infinity}')
        {'psnr': inf, 'older': inf}
    """
    return _with_numbers(json.loads(text))


def _with_strings(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _with_strings(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_strings(item) for item in value]
    return value


def _with_numbers(value: Any) -> Any:
    if isinstance(value, str):
        return _NUMBERS.get(value, value)
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    return value
