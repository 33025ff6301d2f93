"""The stand-in's generating rules: who feels what, which words and which voice show it, and the label given.

Each utterance draws, independently of every other one:

    y      ~ prior          the emotion; MELD's own counts under a square root
    words  ~ W[y]           the emotion that the words carry: y, or with `text_noise` another of its *valence*
    voice  ~ P[y]           the emotion that the voice carries: y, or with `prosody_noise` another of its *arousal*
    label  ~ L[y]           what the annotator wrote: y, or with `label_noise` any of the seven

given y the last three are independent. Words tell valence and voices tell arousal (Russell 1980; words err on
arousal, voices on valence), so that the two errors differ and a model that fuses gains. Speaker, dialogue, turn,
opening and close of a sentence are independent of all four: nothing else tells the emotion. Unless the words are
audible, audio depends on `voice` alone and text on `words` alone.

Three raters hear each utterance, each drawn from L[y] by itself; the first is the annotator, whose word is the
label. What the others say is drawn apart from all else, so that a corpus is the same with and without it.

With `folds` a voice belongs to the group of its number modulo the folds, a dialogue is among voices of one group,
and a fold is tested on one group. No rule depends on the speaker, so the ceilings are the same in every fold.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainables.folds import drawn_dev
from trainables.spec.corpus import EMOTIONS, StandInSpec
from trainables.standin.lexicon import CALLS, CLOSES, MUTED_CALL, MUTED_STATE, OPENINGS, STATES, muted, sentence
from trainables.standin.voices import (
    LEVEL_JITTER,
    MANNERS,
    PITCH_JITTER,
    RATE_JITTER,
    VOICES,
    Voice,
)

VERSION = 2  # raise it when the code that speaks or draws changes the corpus
MELD_COUNTS = {
    "neutral": 4710, "surprise": 1205, "fear": 268, "sadness": 683, "joy": 1743, "disgust": 271, "anger": 1109,
}  # fmt: skip
VALENCE = (("neutral", "surprise", "joy"), ("fear", "sadness", "disgust", "anger"))
AROUSAL = (("neutral", "sadness", "disgust"), ("surprise", "fear", "joy", "anger"))
SHARES = {"train": 2 / 3, "dev": 1 / 8}  # test has the rest
TURNS = (5, 12)
RATERS = 3
DEV_SHARE = 0.12
"""Of the rows that a fold does not test, drawn by whole dialogues."""

Row = tuple[float, ...]
Channel = tuple[Row, ...]  # [emotion][what is shown]: each row sums to 1


@dataclass(frozen=True)
class Rules:
    """Probabilities over EMOTIONS, in that order; `prior` [7], the others [7][7] given the emotion."""

    prior: Row
    words: Channel
    voice: Channel
    label: Channel
    audible: bool = False
    """Whether the words can be heard as well as read."""


@dataclass(frozen=True)
class Line:
    """One utterance: `text` is its transcript, `heard` what is spoken, word for word as many.

    `emotion`, `words` and `voice` never leave the generator.
    """

    split: str
    """With folds, only the folder in which the clip lies."""
    dialogue: int
    """Counted within the split; with folds over all of them."""
    turn: int
    label: str
    emotion: str
    words: str
    voice: str
    text: str
    heard: str
    speaker: Voice
    pitch: int
    rate: int
    level: float

    @property
    def uid(self) -> str:
        """The key that the MELD importer gives this row."""
        return f"{self.split}-dia{self.dialogue}-utt{self.turn}"


def tables() -> tuple[object, ...]:
    """Everything beside the spec that the corpus is made from; its text is part of a corpus's identity."""
    return (
        VERSION, CALLS, STATES, OPENINGS, CLOSES, MUTED_CALL, MUTED_STATE, VOICES, MANNERS, PITCH_JITTER,
        RATE_JITTER, LEVEL_JITTER, MELD_COUNTS, VALENCE, AROUSAL, SHARES, TURNS, RATERS, DEV_SHARE,
    )  # fmt: skip


def rules_of(spec: StandInSpec) -> Rules:
    roots = [math.sqrt(MELD_COUNTS[emotion]) for emotion in EMOTIONS]
    prior = tuple(root / sum(roots) for root in roots)
    return Rules(
        prior=prior,
        words=_confusion(VALENCE, spec.text_noise),
        voice=_confusion(AROUSAL, spec.prosody_noise),
        label=_confusion((EMOTIONS,), spec.label_noise * (1 - 1 / len(EMOTIONS))),
        audible=spec.audible_words,
    )


def _confusion(groups: tuple[tuple[str, ...], ...], noise: float) -> Channel:
    """Right with probability 1 - noise, else evenly one of the others of the emotion's group."""
    group_of = {emotion: group for group in groups for emotion in group}

    def cell(truth: str, shown: str) -> float:
        if truth == shown:
            return 1 - noise
        group = group_of[truth]
        return noise / (len(group) - 1) if shown in group else 0.0

    return tuple(tuple(cell(truth, shown) for shown in EMOTIONS) for truth in EMOTIONS)


def split_sizes(utterances: int) -> dict[str, int]:
    sizes = {split: round(utterances * share) for split, share in SHARES.items()}
    return sizes | {"test": utterances - sum(sizes.values())}


def cast(split: str, voices: int) -> tuple[Voice, ...]:
    """The split's speakers: a main cast in all three; one voice speaks in dev alone and two in test alone."""
    everyone = VOICES[:voices]
    guests = {"train": (), "dev": everyone[-1:], "test": everyone[-3:-1]}
    return everyone[:-3] + guests[split]


def company(spec: StandInSpec, split: str, dialogue: int) -> tuple[Voice, ...]:
    """Who may speak in a dialogue: the cast of its split, or with folds the voices of one group."""
    return VOICES[: spec.voices][dialogue % spec.folds :: spec.folds] if spec.folds else cast(split, spec.voices)


def plan(spec: StandInSpec) -> list[Line]:
    """Every utterance in the order (split, dialogue, turn); the same for the same spec, on any machine."""
    chance, rules = random.Random(spec.seed), rules_of(spec)
    lines: list[Line] = []
    dialogue = 0
    for split, size in split_sizes(spec.utterances).items():
        end, dialogue = len(lines) + size, dialogue if spec.folds else 0
        while len(lines) < end:
            everyone = company(spec, split, dialogue)
            fewest, most = min(2, len(everyone)), min(4, len(everyone))
            speakers = chance.sample(everyone, k=chance.randint(fewest, most))
            for turn in range(min(end - len(lines), chance.randint(*TURNS))):
                place = {"split": split, "dialogue": dialogue, "turn": turn}
                lines.append(_line(chance, rules, chance.choice(speakers), **place))
            dialogue += 1
    return lines


def votes(spec: StandInSpec, lines: Sequence[Line]) -> list[list[float]]:
    """The share of the raters that chose each of EMOTIONS, for each line: [lines][7], each row summing to 1."""
    chance, rules = random.Random(f"{spec.seed} raters"), rules_of(spec)
    found = []
    for line in lines:
        row = rules.label[EMOTIONS.index(line.emotion)]
        chosen = [EMOTIONS.index(line.label), *(_draw(chance, row) for _ in range(RATERS - 1))]
        found.append([chosen.count(label) / RATERS for label in range(len(EMOTIONS))])
    return found


def folds(spec: StandInSpec, lines: Sequence[Line]) -> list[list[str]]:
    """What each line is in each fold: [lines][folds] of train, dev, test."""
    tested = [VOICES.index(line.speaker) % spec.folds for line in lines]
    dialogues, labels = [str(line.dialogue) for line in lines], [line.label for line in lines]
    return drawn_dev(tested, dialogues, labels, spec.folds, DEV_SHARE)


def _line(chance: random.Random, rules: Rules, speaker: Voice, **place: Any) -> Line:
    truth = _draw(chance, rules.prior)
    words, voice, label = (
        EMOTIONS[_draw(chance, channel[truth])] for channel in (rules.words, rules.voice, rules.label)
    )
    manner, text = MANNERS[voice], sentence(words, chance)
    pitch = manner.pitch + speaker.pitch + chance.gauss(0, PITCH_JITTER)
    rate = 175 * manner.rate * speaker.rate * (1 + chance.gauss(0, RATE_JITTER))
    return Line(
        label=label,
        emotion=EMOTIONS[truth],
        words=words,
        voice=voice,
        text=text,
        heard=text if rules.audible else muted(text),
        speaker=speaker,
        pitch=min(99, max(0, round(pitch))),
        rate=round(rate),
        level=manner.level + chance.gauss(0, LEVEL_JITTER),
        **place,
    )


def _draw(chance: random.Random, row: Row) -> int:
    return chance.choices(range(len(row)), weights=row)[0]
