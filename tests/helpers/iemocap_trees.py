"""Small trees of IEMOCAP's shape: texts of chosen turns, wavs of chosen sounds, alignments of chosen words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000
HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
NAMES = {
    "neu": "Neutral state", "ang": "Anger", "sad": "Sadness", "hap": "Happiness", "exc": "Excited",
    "fru": "Frustration", "fea": "Fear", "sur": "Surprise", "dis": "Disgust", "oth": "Other", "xxx": "Other",
}  # fmt: skip
Span = tuple[int, int, str]
"""First frame, last frame, label."""


@dataclass(frozen=True)
class Said:
    """A turn to write. `votes`: what each rater's Categorical file has after the turn's name; None: by the code."""

    uid: str
    code: str = "neu"
    text: str = "Excuse me."
    start: float = 0.0
    end: float = 0.5
    votes: Mapping[str, str] | None = None
    words: Sequence[Span] | None = field(default=((0, 9, "<s>"), (10, 29, "EXCUSE(2)"), (30, 44, "ME")))

    @property
    def dialogue(self) -> str:
        return self.uid.rpartition("_")[0]

    @property
    def session(self) -> str:
        return f"Session{self.uid[4]}"

    @property
    def categories(self) -> Mapping[str, str]:
        name = f":{NAMES[self.code]}; ()"
        return {"e2": name, "e3": name} if self.votes is None else self.votes


def plain_turns(dialogues: Iterable[str] = ("impro01", "script01_1"), codes: str = "neu ang sad hap") -> list[Said]:
    """In each session the dialogues, with a turn of both speakers for each code, the two in turn."""
    return [
        Said(
            f"Ses0{session}{'FM'[number % 2]}_{dialogue}_{speaker}{place:03d}",
            code,
            f"Line {place} of {dialogue}.",
            start=2 * place + (speaker == "M"),
            end=2 * place + (speaker == "M") + 0.5,
        )
        for session in range(1, 6)
        for number, dialogue in enumerate(dialogues)
        for place, code in enumerate(codes.split())
        for speaker in "FM"
    ]


def write_tree(root: Path, turns: Sequence[Said], seconds: float = 0.5, media: bool = True) -> Path:
    """`root/Session1` and so on, a tone for every turn; the turns of a dialogue stay in the order given."""
    for dialogue in dict.fromkeys(turn.dialogue for turn in turns):
        write_texts(root, [turn for turn in turns if turn.dialogue == dialogue])
    for turn in turns if media else ():
        write_wav(wav_of(root, turn.uid), tone(seconds))
        if turn.words is not None:
            write_alignment(root, turn, turn.words)
    return root


def write_texts(root: Path, turns: Sequence[Said]) -> None:
    """EmoEvaluation, the raters' Categorical files and the transcript of one dialogue."""
    name, dialog = turns[0].dialogue, root / turns[0].session / "dialog"
    write(dialog / "EmoEvaluation" / f"{name}.txt", HEADER + "".join(map(block, turns)))
    for rater in sorted({rater for turn in turns for rater in turn.categories}):
        lines = [f"{turn.uid} {turn.categories[rater]}\n" for turn in turns if rater in turn.categories]
        write(dialog / "EmoEvaluation" / "Categorical" / f"{name}_{rater}_cat.txt", "".join(lines))
    said = sorted(turns, key=lambda turn: turn.start)
    write(
        dialog / "transcriptions" / f"{name}.txt",
        "".join(f"{turn.uid} [{turn.start:08.4f}-{turn.end:08.4f}]: {turn.text}\n" for turn in said),
    )


def block(turn: Said) -> str:
    """As the release writes one; what the speaker says of themself is always anger, the third rater has no dom."""
    votes = "".join(
        f"C-{rater.upper()}:\t{told.split('(')[0].replace(' state', '').replace(':', '').strip()}\t()\n"
        for rater, told in turn.categories.items()
    )
    return (
        f"[{turn.start:.4f} - {turn.end:.4f}]\t{turn.uid}\t{turn.code}\t[2.5000, 2.5000, 2.5000]\n{votes}"
        "C-F1:\tAnger;\t(curious)\nA-E3:\tval 3; act 2; dom  2;\t()\nA-E4:\tval 2; act 3; dom ;\t()\n\n"
    )


def write_alignment(root: Path, turn: Said, words: Sequence[Span], kinds: str = "wdseg phseg syseg") -> Path:
    """Each word is one syllable of one phone, `AH`, in its context; the fillers are phones `SIL`."""
    folder = root / turn.session / "sentences" / "ForcedAlignment" / turn.dialogue
    rows = {"wdseg": "", "phseg": "", "syseg": ""}
    for first, last, word in words:
        filler = word.startswith(("<", "+"))
        head = f"{first:8d}{last:6d}{-1000 * last:12d} "
        rows["wdseg"] += f"{head}{word}\n"
        rows["phseg"] += f"{head}{'SIL' if filler else 'AH T K i'}\n"
        rows["syseg"] += f"{head}{'SIL' if filler else 'T  AH'}\n"
    for kind in kinds.split():
        write(folder / f"{turn.uid}.{kind}", f"\t SFrm  EFrm    SegAScr Label\n{rows[kind]} Total score:  -9000\n")
    return folder


def wav_of(root: Path, uid: str) -> Path:
    return root / f"Session{uid[4]}" / "sentences" / "wav" / uid.rpartition("_")[0] / f"{uid}.wav"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def write_wav(path: Path, samples: NDArray[np.float32], rate: int = RATE) -> Path:
    """[samples] or [samples, channels], 16 bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0, level: float = 0.5) -> NDArray[np.float32]:
    """float32 [samples]."""
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
