"""What is wrong with a capture: one line for each thing, with its file, its frame and what to do."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from physsim.errors import InputError

MOST_OF_A_KIND = 20  # problems of one kind in one file or stream that are told one by one


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        severity: "error": no fit is made of it; "warning": a fit goes on.
        file: path in the capture's folder, such as "depth/front/000012.png"; "" for the folder itself.
        frame: that it is about, or None.
        message: what is wrong.
        remedy: what to do.
    """

    severity: str
    file: str
    frame: int | None
    message: str
    remedy: str

    def __str__(self) -> str:
        where = (self.file or "the folder") + ("" if self.frame is None else f", frame {self.frame}")
        return f"{self.severity}: {where}: {self.message}" + (f"; {self.remedy}" if self.remedy else "")


class Problems(list):
    """Problems as they are found; of many alike the first are kept one by one, the rest as a count."""

    def __init__(self) -> None:
        super().__init__()
        self._alike = Counter()

    def error(self, file: str, message: str, remedy: str = "", frame: int | None = None, kind: object = None) -> None:
        """Note an error. `kind`: what it shares with others of which only the first ones are told one by one."""
        self._note("error", file, message, remedy, frame, kind)

    def warning(self, file: str, message: str, remedy: str = "", frame: int | None = None, kind: object = None) -> None:
        """Note a warning; arguments as `error`."""
        self._note("warning", file, message, remedy, frame, kind)

    def attempt(self, file: str, read: Callable, *given: object, frame: int | None = None, kind: object = None, **named: object) -> object:
        """What `read` gives, or None and an error where it refuses."""
        try:
            return read(*given, **named)
        except InputError as error:
            self.refused(file, error, frame, kind)
        except OSError as error:
            self.error(file, f"cannot be read ({error.strerror or type(error).__name__})", "look at its permissions", frame, kind)
        except MemoryError:
            self.error(file, "reading it takes more memory than there is", "make it smaller", frame, kind)
        return None

    def refused(self, file: str, error: InputError, frame: int | None = None, kind: object = None) -> None:
        """Note what a reader said, without the path that it put first."""
        text = " ".join(str(error).split())
        at = text.find(file)
        head = text[:at]
        if at >= 0 and ": " not in head:
            text = text[at + len(file) :].lstrip(":, ")
        message, _, remedy = text.rpartition("; ") if "; " in text else (text, "", "")
        self.error(file, message[:400], remedy[:300] or "write the file anew", frame, kind)

    @property
    def errors(self) -> list[Problem]:
        """The errors."""
        return [p for p in self if p.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """The warnings."""
        return [p for p in self if p.severity == "warning"]

    def _note(self, severity, file, message, remedy, frame, kind):
        if kind is not None:
            self._alike[(severity, kind)] += 1
            if self._alike[(severity, kind)] > MOST_OF_A_KIND:
                return
        self.append(Problem(severity, _plain(file), frame, _plain(message), _plain(remedy)))

    def close(self) -> None:
        """Say how many were kept back."""
        for (severity, kind), count in self._alike.items():
            if count > MOST_OF_A_KIND:
                file, what = kind if isinstance(kind, tuple) else (str(kind), "of this kind")
                more = f"{count - MOST_OF_A_KIND} more problems {what}"
                self.append(Problem(severity, _plain(file), None, more, "see the ones before"))
        self._alike.clear()


def _plain(text: str) -> str:
    """Text that a terminal shows as it is: a file's name may hold anything."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
