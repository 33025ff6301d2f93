"""The stand-in in MELD's own layout: clips in the folders of its three splits, and its three CSV files.

Sound is Apple Lossless in mp4, at eSpeak NG's own rate: exact, and 2.5 times as fast to write as AAC. Pictures,
where the spec wants them, are a second track. Each block of lines is spoken by a process of its own (see `speech`),
so that the bytes depend on the spec alone.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import OrchError
from trainables.processes import abandon, executor
from trainables.spec.base import Modality
from trainables.spec.corpus import StandInSpec
from trainables.standin.clips import write_clip
from trainables.standin.films import Film
from trainables.standin.rules import Line, plan
from trainables.standin.speech import RATE, Span, Synthesiser

FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
HEADER = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
    "StartTime", "EndTime",
)  # fmt: skip
SENTIMENT = {"neutral": "neutral", "joy": "positive", "surprise": "positive"}  # every other emotion: negative
BLOCK = 150  # lines a process speaks; part of the corpus's identity
UNSPOKEN_SECONDS = 2.0
EPISODE_DIALOGUES = 20
_PRELOAD = [__name__, "av", "numpy", "PIL.Image", "PIL.ImageDraw", "soundfile"]


@dataclass(frozen=True)
class Spoken:
    """What came of a line: its length, and when its words and phones sound. Empty where it was not spoken."""

    uid: str
    seconds: float = UNSPOKEN_SECONDS
    words: tuple[Span, ...] = ()
    phones: tuple[Span, ...] = ()


def write_tree(spec: StandInSpec, root: Path, workers: int) -> Iterator[Spoken]:
    """Write the tree below `root`, yielding line by line in the order of `plan`; the CSV files come last.

    Without `audio` among the spec's modalities nothing is spoken, and without `visual` nothing is drawn: with
    neither, the CSV files are all there is.
    """
    lines, spoken = plan(spec), []
    for folder in FOLDERS.values():
        (root / folder).mkdir(parents=True)
    media = [modality for modality in spec.modalities if modality != "text"]
    for one in _perform(lines, root, workers, media) if media else _say_nothing(lines):
        spoken.append(one)
        yield one
    for split in FOLDERS:
        both = [pair for pair in zip(lines, spoken, strict=True) if pair[0].split == split]
        _write_csv(root / f"{split}_sent_emo.csv", both)


def _say_nothing(lines: Sequence[Line]) -> Iterator[Spoken]:
    return (Spoken(line.uid) for line in lines)


def _perform(lines: Sequence[Line], root: Path, workers: int, media: Collection[Modality]) -> Iterator[Spoken]:
    blocks = [lines[start : start + BLOCK] for start in range(0, len(lines), BLOCK)]
    with executor(max(1, workers), _PRELOAD, tasks=1) as pool:
        results: list[Future[list[Spoken]]] = [pool.submit(perform_block, block, root, media) for block in blocks]
        try:
            for result in results:
                yield from result.result()
        except BrokenProcessPool as error:
            raise OrchError("eSpeak NG ended its process; run again, or configure a MELD root") from error
        except BaseException:  # a Ctrl-C waits for no block to be spoken
            abandon(pool)
            raise


def perform_block(lines: Sequence[Line], root: Path, media: Collection[Modality]) -> list[Spoken]:
    """Speak and draw the lines one after another into clips below `root`.

    Meant for a process that has not spoken yet.
    """
    synthesiser, spoken = Synthesiser() if "audio" in media else None, []
    for line in lines:
        said = synthesiser.speak(line) if synthesiser else None
        pictures = Film.of(line) if "visual" in media else None
        target = root / FOLDERS[line.split] / f"dia{line.dialogue}_utt{line.turn}.mp4"
        write_clip(target, said.samples if said else None, pictures)
        spoken.append(
            Spoken(line.uid, len(said.samples) / RATE, tuple(said.words), tuple(said.phones))
            if said
            else Spoken(line.uid)
        )
    return spoken


def _write_csv(path: Path, rows: Sequence[tuple[Line, Spoken]]) -> None:
    """MELD's columns; each split is a season, whose episodes hold some dialogues one after another."""
    season, clock, episode = 1 + list(FOLDERS).index(path.stem.split("_")[0]), 0.0, 0
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(HEADER)
        for number, (line, said) in enumerate(rows, start=1):
            if line.dialogue // EPISODE_DIALOGUES + 1 != episode:
                episode, clock = line.dialogue // EPISODE_DIALOGUES + 1, 0.0
            start, clock = clock, clock + said.seconds
            writer.writerow(
                (
                    number,
                    line.text,
                    line.speaker.speaker,
                    line.label,
                    SENTIMENT.get(line.label, "negative"),
                    line.dialogue,
                    line.turn,
                    season,
                    episode,
                    _time(start),
                    _time(clock),
                )
            )


def _time(seconds: float) -> str:
    """MELD's `HH:MM:SS,mmm`."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{milliseconds:03}"
