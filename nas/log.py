"""What a run says while it works: one line that renews itself on a terminal, a line every few seconds elsewhere."""

import re
import sys
import time
import unicodedata
from typing import TextIO

_OBEYED = {"Cc", "Cf", "Zl", "Zp"}
"""Categories of characters that a terminal obeys instead of showing them: control characters, marks that turn the direction of writing or
are not seen, and line ends of other scripts.
"""

_JOINERS = "\u200c\u200d"
"""Of letters in Persian and Indic words and of signs in emoji: they are not seen, and part of how such a word is written."""

_PERHAPS = re.compile("[^\n\t -~]")


def shown(text: str) -> str:
    """A text with the characters that a terminal or a browser would obey as Python escapes them. Line feeds and tabs stay."""
    return _PERHAPS.sub(lambda found: _escaped(found[0]), text)


def _escaped(letter: str) -> str:
    return (
        letter.encode("unicode_escape").decode()
        if unicodedata.category(letter) in _OBEYED and letter not in _JOINERS
        else letter
    )


def say(text: str = "", stream: TextIO | None = None) -> None:
    """One line of a result, on standard output unless another stream is given.

    What the stream cannot write (names of classes and folders may hold any character, and a terminal under the C locale takes ASCII
    only) is written as Python escapes it, and so is what a terminal would obey: see `shown`.
    """
    stream, text = stream or sys.stdout, shown(text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding, getattr(stream, "errors", None) or "strict")
    except UnicodeEncodeError:
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    print(text, file=stream, flush=True)


class Progress:
    """A progress line on standard error.

    Args:
        label: what is going on.
        total: number of steps.
        done: steps that an earlier, interrupted run has done.
        every: seconds between lines where standard error is no terminal.
    """

    def __init__(
        self, label: str, total: int, done: int = 0, every: float = 10.0, stream: TextIO | None = None
    ) -> None:
        self.label, self.total, self.first, self.every = label, total, done, every
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.start = self.last = time.monotonic()
        self.shown = False

    def resume(self, done: int) -> None:
        """Counts so many steps as done before: they took no time that tells of the others."""
        self.first, self.start = done, time.monotonic()

    def due(self, done: int) -> bool:
        """Whether `update` would write a line: what it shows may take a while to compute."""
        return done >= self.total or time.monotonic() - self.last >= (0.2 if self.terminal else self.every)

    def update(self, done: int, images: int = 0, **numbers: float) -> None:
        """Reports `done` steps; `images` is what they have seen since the start of this process."""
        if not self.due(done):
            return
        finished, now = done >= self.total, time.monotonic()
        self.last = now
        seconds = max(1e-9, now - self.start)
        words = [f"{self.label} {done}/{self.total}"]
        words += [
            f"{key} {value:,}" if isinstance(value, int) else f"{key} {value:.4g}" for key, value in numbers.items()
        ]
        if images:
            words.append(f"{images / seconds:,.0f} images/s")
        if not finished and done > self.first:
            words.append(f"{seconds * (self.total - done) / (done - self.first):.0f} s left")
        line = shown("  ".join(words)).replace("\n", "\\n")
        if self.terminal:
            self.stream.write(f"\r\x1b[2K{line}" + ("\n" if finished else ""))
        else:
            self.stream.write(line + "\n")
        self.stream.flush()
        self.shown = True
