"""An error in one line, whichever of its lines says what happened."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """The first line of an error, with its type where the message alone says little."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return text or type(error).__name__


def last_line(error: BaseException) -> str:
    """The last line, which names the error where the text is a traceback that Ray passed on."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
