"""By what a corpus is aligned, in one line; what is not comparable says so wherever its scores are."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from orchestrator.display import words

_SOURCES = {
    "corpus": "the corpus itself",
    "synthesiser": "the synthesiser",
    "textgrid": "TextGrids",
    "ctc": "a CTC model",
    "proportional": "equal shares of the voiced part",
}


def aligned(sources: Mapping[str, int], *, comparable: bool) -> Text:
    """One line: by which source how many rows have words, phones and syllables in time."""
    known = {name: words.counted(count, "row") for name, count in sources.items() if name != "none"}
    rows = [f"{count} by {_SOURCES[name]}" for name, count in known.items()]
    without = [f"{sources['none']} without"] if sources.get("none") else []
    told = "aligned: " + (", ".join([*rows, *without]) if rows else "no row")
    if comparable:
        return Text(told)
    return Text(f"{told}; scores that use these segments compare with no one else's", style="yellow")
