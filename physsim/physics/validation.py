"""Checks of what users hand in: each error names the thing, says what is allowed and what to do."""

import numpy as np

from physsim.errors import InputError


def given_array(name, value):
    """What was handed in as a numpy array of numbers, of any shape; torch tensors are detached.

    Raises:
        InputError: None, rows of different lengths, complex numbers.
    """
    if value is None:
        raise InputError(f"{name}: None was given; a number or an array of numbers is needed")
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        given = np.asarray(value)
    except (TypeError, ValueError):
        raise InputError(f"{name}: rows of different lengths were given; an array of numbers is needed") from None
    if given.dtype.kind == "c":
        raise InputError(f"{name}: complex numbers were given; real ones are needed, such as .real")
    return given


def is_scalar(name, value):
    """Whether what was handed in is one number, not an array; errors as `given_array`."""
    return given_array(name, value).ndim == 0


def instance(name, value, kinds, remedy=""):
    """The value, if it is of one of the classes.

    Raises:
        InputError: it is of another class; `remedy` is added.
    """
    if isinstance(value, kinds):
        return value
    known = [kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,))]
    article = "an" if known[0][0] in "AEIOU" else "a"
    raise InputError(f"{name}: {article} {' or '.join(known)} is needed, {type(value).__name__} was given{'; ' * bool(remedy)}{remedy}")


def array(name, value, shape, kind="f", lower=None, upper=None, lower_open=False, upper_open=False):
    """A finite numpy array of the asked shape.

    Args:
        name: what the error calls it.
        value: array-like.
        shape: tuple; None stands for any length, `()` for a scalar.
        kind: "f" for float64, "i" for int32.
        lower, upper: bounds of every entry; `lower_open` and `upper_open` exclude the bound itself.

    Raises:
        InputError: wrong shape, not numbers, NaN or infinite, out of bounds.
    """
    given = given_array(name, value)
    try:
        if kind == "i" and given.size and not np.issubdtype(given.dtype, np.integer):
            raise TypeError(f"whole numbers are needed, {given.dtype} was given")
        out = np.array(given, dtype=np.float64 if kind == "f" else np.int64, order="C")  # a copy: later writes stay the caller's
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: not an array of {'numbers' if kind == 'f' else 'indices'}: {error}") from None
    if shape == () and out.size == 1:
        out = out.reshape(())
    if out.ndim != len(shape) or any(s is not None and s != n for s, n in zip(shape, out.shape, strict=False)):
        wanted = "[" + ", ".join("any" if s is None else str(s) for s in shape) + "]" if shape else "a scalar"
        raise InputError(f"{name}: shape {list(out.shape)} was given, {wanted} is needed")
    if kind == "f":
        bad = ~np.isfinite(out)
        if bad.any():
            first = np.argwhere(bad)[0].tolist()
            if not first:
                raise InputError(f"{name}: NaN or infinite was given; a finite number is needed")
            raise InputError(f"{name}: {int(bad.sum())} values are NaN or infinite, the first at {first}; remove or repair them")
    check_bounds(name, out, lower, upper, lower_open, upper_open)
    return out


def rotation(name, value):
    """A rotation matrix, shape [3, 3].

    Raises:
        InputError: another shape, NaN, rows that are not orthogonal unit vectors (to 1e-5), a mirror.
    """
    out = array(name, value, (3, 3))
    if np.abs(out).max() > 1.1 or np.abs(out @ out.T - np.eye(3)).max() > 1e-5 or np.linalg.det(out) < 0.0:
        raise InputError(f"{name}: {out.tolist()} is no rotation; its rows must be orthogonal unit vectors, right-handed")
    return out


def check_bounds(name, out, lower=None, upper=None, lower_open=False, upper_open=False):
    """Raise an InputError naming the first entry of `out` outside its bounds."""
    low = np.zeros(out.shape, bool) if lower is None else (out <= lower if lower_open else out < lower)
    high = np.zeros(out.shape, bool) if upper is None else (out >= upper if upper_open else out > upper)
    bad = low | high
    if bad.any():
        left = "(-inf" if lower is None else f"{'(' if lower_open else '['}{lower:g}"
        right = "inf)" if upper is None else f"{upper:g}{')' if upper_open else ']'}"
        where = np.argwhere(bad)[0].tolist()
        value = out[tuple(where)] if where else out[()]
        at = f" at {where}" if where else ""
        hint = "; use 0.499 for rubber" if name.endswith("poisson") and upper == 0.5 and value >= 0.5 else ""
        raise InputError(f"{name} = {value:g}{at}: must lie in {left}, {right}{hint}")


def indices(name, value, count, shape=(None,)):
    """Indices in [0, count) as int64.

    Raises:
        InputError: not whole numbers, or out of range (the first offender is named).
    """
    out = array(name, value, shape, kind="i")
    bad = (out < 0) | (out >= count)
    if bad.any():
        first = np.argwhere(bad)[0].tolist()
        raise InputError(f"{name}: index {int(out[tuple(first)])} at {first} is out of range; allowed are 0 to {count - 1}")
    return out
