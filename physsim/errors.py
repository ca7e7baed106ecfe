"""Errors that physsim raises on purpose; anything else that escapes is a bug."""


class PhyssimError(Exception):
    """Base of every error that physsim raises on purpose."""


class InputError(PhyssimError, ValueError):
    """What was handed in cannot be used. The message says what was given, what is allowed and what to do."""


class SolverError(PhyssimError, RuntimeError):
    """A solve failed or turned NaN. The message names the law and the first bad particle; the caller's state is as it was."""
