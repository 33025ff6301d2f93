"""TextGrids as Praat writes them, long and short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

Tiers = Mapping[str, Sequence[tuple[float, float, str]]]


def write_textgrid(path: Path, tiers: Tiers) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(long_format(tiers), "utf-8")
    return path


def long_format(tiers: Tiers) -> str:
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0 ", f"xmax = {_end(tiers)} "]
    lines += ["tiers? <exists> ", f"size = {len(tiers)} ", "item []: "]
    for number, (name, spans) in enumerate(tiers.items(), start=1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier" ', f'        name = "{name}" ']
        lines += ["        xmin = 0 ", f"        xmax = {_end(tiers)} ", f"        intervals: size = {len(spans)} "]
        for count, (start, end, text) in enumerate(spans, start=1):
            lines += [f"        intervals [{count}]:", f"            xmin = {start} ", f"            xmax = {end} "]
            lines += [f'            text = "{_escaped(text)}" ']
    return "\n".join(lines) + "\n"


def short_format(tiers: Tiers) -> str:
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", f"{_end(tiers)}", "<exists>"]
    lines.append(str(len(tiers)))
    for name, spans in tiers.items():
        lines += ['"IntervalTier"', f'"{name}"', "0", f"{_end(tiers)}", str(len(spans))]
        for start, end, text in spans:
            lines += [f"{start}", f"{end}", f'"{_escaped(text)}"']
    return "\n".join(lines) + "\n"


def _end(tiers: Tiers) -> float:
    return max(end for spans in tiers.values() for _, end, _ in spans)


def _escaped(text: str) -> str:
    return text.replace('"', '""')
