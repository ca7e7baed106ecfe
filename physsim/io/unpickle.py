"""Pickles of strangers, read without running anything: numpy arrays, plain containers, numbers and strings.

A pickle is a program. This reads its opcodes itself and never calls Python's unpickler, numpy's reconstructors or any name that the
file holds: arrays are made from their bytes once everything has been checked. Nothing is allocated that the file's own length does
not pay for: arrays are as long as their bytes, shared objects count each time that they appear in the result.
"""

import math
import pickletools
import re
import warnings
from dataclasses import dataclass, field
from os import PathLike

import numpy as np

from physsim.errors import InputError
from physsim.io.files import checked_path

SUFFIXES = {".pkl", ".pickle", ".p"}
MAX_BYTES = 2_000_000_000
MAX_OPCODES = 5_000_000
MAX_DEPTH = 32
MAX_KEYS = 10_000  # of a dict or set: keys that collide on purpose take the square of their number
MAX_ITEMS = 5_000_000  # of the result, shared ones counted wherever they appear

_READ = "numpy arrays of numbers, lists, tuples, dicts, sets, numbers and strings are read"
_DTYPE = re.compile(r"[<>=|]?(b1|i[1248]|u[1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,5})")
_MARK = object()
_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IMMEDIATE = re.compile(r"(BIN)?INT[12]?|LONG[14]?|(BIN)?FLOAT|(SHORT_)?(BIN)?(STRING|UNICODE|BYTES)8?|BYTEARRAY8")  # carry their value
_DAMAGED = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError)
_SCALARS = (str, bytes, int, float, complex, bool, type(None))


@dataclass(frozen=True)
class _Name:
    """A global that is understood; it stands for an idea, not for the object of that name."""

    idea: str


def _names() -> dict[tuple[str, str], _Name]:
    known = {("numpy", "ndarray"): "array type", ("numpy", "dtype"): "dtype", ("_codecs", "encode"): "encode"}
    for core in ("numpy.core", "numpy._core"):  # of numpy 1 and of numpy 2
        known[f"{core}.multiarray", "_reconstruct"] = "array"
        known[f"{core}.multiarray", "scalar"] = "scalar"
        known[f"{core}.numeric", "_frombuffer"] = "buffer"
    for builtins in ("builtins", "__builtin__"):
        known |= {(builtins, name): name for name in ("set", "frozenset", "bytes", "bytearray", "complex")}
    return {key: _Name(idea) for key, idea in known.items()}


_NAMES = _names()


@dataclass(eq=False)
class _Dtype:
    code: str
    order: str = "="

    def numpy(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(self.order)


@dataclass(eq=False)
class _Array:
    """An array that is still bytes."""

    dtype: _Dtype | None = None
    shape: tuple[int, ...] = ()
    data: bytes | bytearray = b""
    fortran: bool = False
    scalar: bool = False


@dataclass(eq=False)
class _Set:
    """A set whose items are not looked at before the end."""

    items: list | tuple = field(default_factory=list)
    frozen: bool = False


class _Refused(Exception):
    """What a pickle asks for and does not get."""


def read_pickle(path: str | PathLike[str], max_bytes: int = MAX_BYTES) -> object:
    """What a pickle of protocol 2 to 5 holds, if it is data and nothing else.

    Args:
        path: the file, ending in .pkl, .pickle or .p.
        max_bytes: largest file that is read, and most bytes that its arrays may take [bytes].

    Returns:
        Dicts, lists, tuples, sets, strings, bytes, numbers, None and numpy arrays (writable, of booleans, whole, real or complex numbers or
        strings), nested at most 32 deep.

    Raises:
        InputError: the file names anything but numpy's arrays (the name is told), holds arrays of objects, is cut off or damaged, is too
            large, or asks for more than its length pays for.
    """
    path = checked_path(path, SUFFIXES, max_bytes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes of damaged strings
            held = _run(path.read_bytes())
        return _Result(max_bytes).of(held)
    except _Refused as refused:
        raise InputError(f"{path}: {refused}") from None
    except _DAMAGED as error:
        told = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: not a pickle that can be read ({told}); is it cut off or damaged?") from None


def _run(content: bytes) -> object:
    """The object that the opcodes build, arrays and sets as placeholders."""
    machine = _Machine(len(content))
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if count == 0 and opcode.name != "PROTO":
            raise _Refused("not a pickle of protocol 2 to 5; write it again with protocol=4")
        if count >= MAX_OPCODES:
            raise _Refused(f"more than {MAX_OPCODES} opcodes; save its numbers as numpy arrays")
        if opcode.name == "STOP":
            if len(machine.stack) != 1:
                raise ValueError("it ends with other than one object")
            return machine.pop()
        machine.do(opcode.name, argument)
    raise ValueError("it has no end")


class _Machine:
    """Stack and memo of a pickle. Only what `do` knows is done; each way to run code or to reach outside is refused by name."""

    def __init__(self, length: int):
        self.stack, self.memo = [], {}
        self.unpaid = length  # bytes that may still be made besides those that the file holds

    def pay(self, size: int) -> None:
        """Account for bytes that a call makes: an opcode of two bytes may ask for a copy of what the whole file holds."""
        self.unpaid -= size
        if self.unpaid < 0:
            raise _Refused("it copies what it holds over and over; only data is read")

    def pop(self):
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def to_mark(self) -> list:
        """Everything above the last mark."""
        items = []
        while (value := self.stack.pop()) is not _MARK:
            items.append(value)
        return items[::-1]

    def do(self, name: str, argument: object) -> None:
        if _IMMEDIATE.fullmatch(name):
            self.stack.append(argument)
        elif name in _LITERALS:
            self.stack.append(_LITERALS[name])
        elif name == "PROTO":
            if not 2 <= argument <= 5:
                raise _Refused(f"protocol {argument}; 2 to 5 are read")
        elif name != "FRAME":
            getattr(self, f"_{name.lower()}", self._refuse(name))(argument)

    def _refuse(self, name: str):
        def refuse(_):
            raise _Refused(f"it uses the opcode {name}, which can run code or reach outside the file; only {_READ}")

        return refuse

    def _mark(self, _):
        self.stack.append(_MARK)

    def _pop(self, _):
        self.stack.pop()

    def _pop_mark(self, _):
        self.to_mark()

    def _dup(self, _):
        self.stack.append(self.stack[-1])

    def _memoize(self, _):
        self.memo[len(self.memo)] = self.stack[-1]

    def _binput(self, key):
        self.memo[key] = self.stack[-1]

    _put = _long_binput = _binput

    def _binget(self, key):
        self.stack.append(self.memo[key])

    _get = _long_binget = _binget

    def _empty_list(self, _):
        self.stack.append([])

    def _empty_dict(self, _):
        self.stack.append({})

    def _empty_tuple(self, _):
        self.stack.append(())

    def _empty_set(self, _):
        self.stack.append(_Set())

    def _list(self, _):
        self.stack.append(self.to_mark())

    def _tuple(self, _):
        self.stack.append(tuple(self.to_mark()))

    def _tuple1(self, _, count=1):
        items = [self.pop() for _ in range(count)]
        self.stack.append(tuple(items[::-1]))

    def _tuple2(self, _):
        self._tuple1(_, 2)

    def _tuple3(self, _):
        self._tuple1(_, 3)

    def _dict(self, _):
        items = self.to_mark()
        self.stack.append({})
        self._set(items)

    def _frozenset(self, _):
        self.stack.append(_Set(self.to_mark(), frozen=True))

    def _append(self, _):
        value = self.pop()
        self._top(list).append(value)

    def _appends(self, _):
        items = self.to_mark()
        self._top(list).extend(items)

    def _additems(self, _):
        items = self.to_mark()
        self._top(_Set).items.extend(items)

    def _setitem(self, _):
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def _setitems(self, _):
        self._set(self.to_mark())

    def _set(self, items: list) -> None:
        target = self._top(dict)
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_checked_key(key)] = value
        if len(target) > MAX_KEYS:
            raise _Refused(f"a dict of more than {MAX_KEYS} keys; save its numbers as numpy arrays")

    def _top(self, kind: type):
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"{type(self.stack[-1]).__name__} where {kind.__name__.strip('_').lower()} should be")
        return self.stack[-1]

    def _global(self, argument):
        self._name(*argument.split(" ", 1))

    def _stack_global(self, _):
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a global whose name is no string")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        if (module, name) not in _NAMES:
            raise _Refused(f"it names {f'{module}.{name}'[:120]!r}, which is code and not data; only {_READ}")
        self.stack.append(_NAMES[module, name])

    def _reduce(self, _):
        arguments, called = self.pop(), self.pop()
        if type(called) is not _Name or type(arguments) is not tuple:
            raise _Refused(f"it calls {type(called).__name__.strip('_').lower()} as a function; only {_READ}")
        self.pay(sum(len(a) for a in arguments if type(a) in (str, bytes)))
        self.stack.append(_call(called.idea, arguments))

    def _build(self, _):
        state, target = self.pop(), self.stack[-1]
        if type(target) is _Dtype:
            _set_dtype(target, state)
        elif type(target) is _Array:
            self.pay(len(state[4]) if type(state) is tuple and len(state) == 5 and type(state[4]) is str else 0)
            _set_array(target, state)
        else:
            raise _Refused(f"it sets the state of {type(target).__name__.strip('_').lower()}; only {_READ}")


def _checked_key(key: object) -> object:
    """A key whose hash is cheap: a scalar, or a tuple of scalars."""
    if isinstance(key, _SCALARS) or (type(key) is tuple and all(isinstance(part, _SCALARS) for part in key)):
        return key
    raise _Refused(f"a dict has a key of type {type(key).__name__.strip('_').lower()}; strings, numbers and tuples of them are allowed")


def _call(idea: str, arguments: tuple) -> object:
    """What a call to one of the known names stands for."""
    if idea == "dtype":
        return _dtype(arguments[0])
    if idea == "array":
        if arguments[0] != _NAMES["numpy", "ndarray"]:
            raise _Refused("an array of a class other than numpy.ndarray; save it by numpy.asarray(...)")
        return _Array()
    if idea == "scalar":
        dtype, data = arguments
        return _filled(_Array(scalar=True), dtype, (), data, False)
    if idea == "buffer":
        data, dtype, shape, order = arguments
        return _filled(_Array(), dtype, shape, data, order == "F")
    if idea == "encode":
        text, encoding = arguments
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise _Refused("it encodes text other than as latin1")
        return text.encode("latin-1")
    if idea in ("set", "frozenset"):
        (items,) = arguments or ([],)
        if type(items) not in (list, tuple):
            raise _Refused("a set that is not made of a list")
        return _Set(items, idea == "frozenset")
    if idea == "complex":
        real, imaginary = arguments
        return complex(float(real), float(imaginary))
    if idea == "bytes" and not arguments:
        return b""
    if idea == "bytearray" and len(arguments) <= 1 and all(type(a) is bytes for a in arguments):
        return bytearray(*arguments)
    raise _Refused(f"it calls a {idea} in a way that is not read; only {_READ}")


def _dtype(code: object) -> _Dtype:
    if type(code) is bytes:
        code = code.decode("latin-1")
    if type(code) is not str or not _DTYPE.fullmatch(code):
        what = "arrays of Python objects can hide code" if code in ("O", "O8", "|O") else "numbers, booleans and strings are read"
        raise _Refused(f"an array of type {str(code)[:40]!r}: {what}; save it with a numeric dtype")
    return _Dtype(code.lstrip("<>=|"), code[0] if code[0] in "<>=|" else "=")


def _set_dtype(dtype: _Dtype, state: object) -> None:
    """Of numpy's state of a dtype only the order of bytes: (version, order, subarray, names, fields, ...)."""
    if type(state) is not tuple or len(state) < 8 or state[0] not in (3, 4) or state[2:5] != (None, None, None):
        raise _Refused("an array of records or of another unusual type; save each column as an array of its own")
    order = state[1].decode("latin-1") if type(state[1]) is bytes else state[1]
    if order not in ("<", ">", "=", "|"):
        raise ValueError("an unknown order of bytes")
    dtype.order = order


def _set_array(array: _Array, state: object) -> None:
    """Numpy's state of an array: (version, shape, dtype, whether the first index runs fastest, bytes)."""
    if type(state) is not tuple or len(state) != 5 or array.dtype is not None:
        raise ValueError("an array of another version of numpy, or one filled twice")
    _, shape, dtype, fortran, data = state
    _filled(array, dtype, shape, data, bool(fortran))


def _filled(array: _Array, dtype: object, shape: object, data: object, fortran: bool) -> _Array:
    if type(data) is str:  # bytes of Python 2
        data = data.encode("latin-1")
    if type(dtype) is not _Dtype or type(data) not in (bytes, bytearray):
        raise _Refused("an array of Python objects, which can hide code; save it with a numeric dtype")
    if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape) or len(shape) > MAX_DEPTH:
        raise ValueError("an array whose shape is none")
    declared = math.prod(shape) * dtype.numpy().itemsize
    if declared != len(data):
        raise _Refused(f"an array that declares {declared} bytes and holds {len(data)}; is the file cut off or damaged?")
    array.dtype, array.shape, array.data, array.fortran = dtype, shape, data, fortran
    return array


class _Result:
    """Plain objects from placeholders, with an account of what they take."""

    def __init__(self, max_bytes: int):
        self.items, self.bytes, self.max_bytes = 0, 0, max_bytes

    def of(self, value: object, depth: int = 0) -> object:
        self.items += 1
        if self.items > MAX_ITEMS or depth > MAX_DEPTH:
            raise _Refused(f"more than {MAX_ITEMS} items or {MAX_DEPTH} levels, shared ones counted each time; save its numbers as arrays")
        kind = type(value)
        if kind is _Array:
            return self._array(value)
        if kind in (list, tuple):
            return kind([self.of(item, depth + 1) for item in value])
        if kind is dict:
            return {key: self.of(item, depth + 1) for key, item in value.items()}
        if kind is _Set:
            items = [_checked_key(self.of(item, depth + 1)) for item in value.items[: MAX_KEYS + 1]]
            if len(items) > MAX_KEYS:
                raise _Refused(f"a set of more than {MAX_KEYS} items; save its numbers as numpy arrays")
            return frozenset(items) if value.frozen else set(items)
        if kind in _SCALARS or kind is bytearray:
            return value
        raise _Refused(f"it holds {kind.__name__.strip('_').lower()}s as objects of their own; only {_READ}")

    def _array(self, value: _Array) -> object:
        if value.dtype is None:
            raise ValueError("an array that is never filled")
        self.bytes += len(value.data)
        if self.bytes > self.max_bytes:
            raise _Refused(f"its arrays take more than {self.max_bytes} bytes, shared ones counted each time")
        dtype = value.dtype.numpy()
        flat = np.frombuffer(value.data, dtype) if len(value.data) else np.zeros(0, dtype)
        array = flat.reshape(value.shape, order="F" if value.fortran else "C").astype(dtype.newbyteorder("="), order="C", copy=True)
        return array[()] if value.scalar else array
