"""Numbers of a run as a JSON file that any reader takes: no NaN, no numpy."""

import json
import math
from os import PathLike
from pathlib import Path

import numpy as np


def plain(value: object) -> object:
    """Numbers, lists and dicts that JSON knows; NaN and infinite numbers become None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def write_json(path: str | PathLike[str], data: dict) -> Path:
    """Write `plain(data)`, making the folder where needed, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain(data), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path
