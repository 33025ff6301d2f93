"""The stand-in's generating rules: who feels what, which words, voice and face show it, and the label given.

Each utterance draws, independently of every other one:

    y      ~ prior          the emotion; MELD's own counts under a square root
    words  ~ W[y]           the emotion that the words carry: y, or with `text_noise` another of its *valence*
    voice  ~ P[y]           the emotion that the voice carries: y, or with `prosody_noise` another of its *arousal*
    face   ~ F[y]           the emotion that the face shows: y, or with `face_noise` another that *looks like it*
    label  ~ L[y]           what the annotator wrote: y, or with `label_noise` any of the seven

given y the last four are independent. Words tell valence and voices tell arousal (Russell 1980; words err on
arousal, voices on valence); faces are mistaken in pairs, surprise for fear and disgust for anger (Du & Martinez,
Journal of Vision 2011), and here the other three among themselves. No two emotions are mistaken for each other by
all three channels, so that the errors differ and a model that fuses gains. Speaker, dialogue, turn, opening and
close of a sentence are independent of all five: nothing else tells the emotion. Pictures depend on `face` alone,
text on `words` alone, and audio, unless the words are audible, on `voice` alone.

With `several` an utterance has a state S of one or two emotions: a first, y ~ prior, and with probability SECOND a
second one, evenly any other but neutral; neutral is only ever alone. Words, voice and face each show one emotion
of S, evenly and independently chosen, with their errors as above. The annotator writes the set S, or with
`label_noise` evenly any of the 22 sets that there are.

Three raters hear each utterance, each drawn from L[y] by itself; the first is the annotator, whose word is the
label. What the others say is drawn apart from all else, and so is what faces and second emotions need, so that a
corpus is the same with and without them.

With `folds` a voice belongs to the group of its number modulo the folds, a dialogue is among voices of one group,
and a fold is tested on one group. No rule depends on the speaker, so the ceilings are the same in every fold.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from trainables.folds import drawn_dev
from trainables.spec.corpus import EMOTIONS, StandInSpec
from trainables.standin import expressions
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
LIKENESS = (("surprise", "fear"), ("anger", "disgust"), ("neutral", "sadness", "joy"))
SHARES = {"train": 2 / 3, "dev": 1 / 8}  # test has the rest
TURNS = (5, 12)
RATERS = 3
DEV_SHARE = 0.12
"""Of the rows that a fold does not test, drawn by whole dialogues."""
SECOND = 0.4
"""Of the utterances that are not neutral, where there may be several emotions: how many have two."""

State = tuple[str, ...]
SINGLES: tuple[State, ...] = tuple((emotion,) for emotion in EMOTIONS)
SETS: tuple[State, ...] = SINGLES + tuple(combinations([e for e in EMOTIONS if e != "neutral"], 2))
"""What an utterance may have where it may have several emotions, each in the order of EMOTIONS."""

Row = tuple[float, ...]
Channel = tuple[Row, ...]  # [state][what is shown]: each row sums to 1


@dataclass(frozen=True)
class Rules:
    """Probabilities given the state: `prior` [states], `label` [states][states], the others [states][7].

    The 7 are EMOTIONS in that order.
    """

    prior: Row
    words: Channel
    voice: Channel
    face: Channel
    label: Channel
    audible: bool = False
    """Whether the words can be heard as well as read."""
    states: tuple[State, ...] = SINGLES


@dataclass(frozen=True)
class Line:
    """One utterance: `text` is its transcript, `heard` what is spoken, word for word as many.

    `emotions`, `words`, `voice` and `face` never leave the generator.
    """

    split: str
    """With folds, only the folder in which the clip lies."""
    dialogue: int
    """Counted within the split; with folds over all of them."""
    turn: int
    labels: State
    """What the annotator wrote; one, unless there may be several."""
    emotions: State
    words: str
    voice: str
    face: str
    text: str
    heard: str
    speaker: Voice
    pitch: int
    rate: int
    level: float
    look: int
    """The seed of how the face moves."""

    @property
    def label(self) -> str:
        """The first one."""
        return self.labels[0]

    @property
    def uid(self) -> str:
        """The key that the MELD importer gives this row."""
        return f"{self.split}-dia{self.dialogue}-utt{self.turn}"


def tables() -> tuple[object, ...]:
    """Everything beside the spec that the corpus is made from; its text is part of a corpus's identity."""
    return (
        VERSION, CALLS, STATES, OPENINGS, CLOSES, MUTED_CALL, MUTED_STATE, VOICES, MANNERS, PITCH_JITTER,
        RATE_JITTER, LEVEL_JITTER, MELD_COUNTS, VALENCE, AROUSAL, SHARES, TURNS, RATERS, DEV_SHARE, LIKENESS,
        SECOND, *expressions.tables(),
    )  # fmt: skip


def rules_of(spec: StandInSpec) -> Rules:
    """The rules by state: SINGLES, or SETS where there may be several emotions."""
    return _of_sets(_of_one(spec), spec.label_noise) if spec.several else _of_one(spec)


def _of_one(spec: StandInSpec) -> Rules:
    roots = [math.sqrt(MELD_COUNTS[emotion]) for emotion in EMOTIONS]
    prior = tuple(root / sum(roots) for root in roots)
    return Rules(
        prior=prior,
        words=_confusion(VALENCE, spec.text_noise),
        voice=_confusion(AROUSAL, spec.prosody_noise),
        face=_confusion(LIKENESS, spec.face_noise),
        label=_confusion((EMOTIONS,), spec.label_noise * (1 - 1 / len(EMOTIONS))),
        audible=spec.audible_words,
    )


def _of_sets(one: Rules, label_noise: float) -> Rules:
    """The rules over SETS from those of one emotion."""
    prior = dict(zip(EMOTIONS, one.prior, strict=True))

    def share(state: State) -> float:
        if state == ("neutral",):
            return prior["neutral"]
        if len(state) == 1:
            return prior[state[0]] * (1 - SECOND)
        return sum(prior[emotion] for emotion in state) * SECOND / (len(EMOTIONS) - 2)

    def shown(channel: Channel) -> Channel:
        rows = [[channel[EMOTIONS.index(emotion)] for emotion in state] for state in SETS]
        return tuple(tuple(sum(column) / len(own) for column in zip(*own, strict=True)) for own in rows)

    any_set = label_noise / len(SETS)
    label = tuple(tuple(any_set + (1 - label_noise) * (own == other) for other in SETS) for own in SETS)
    words, voice, face = (shown(channel) for channel in (one.words, one.voice, one.face))
    return Rules(tuple(map(share, SETS)), words, voice, face, label, one.audible, SETS)


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
    chances, rules = _Chances.of(spec.seed), _of_one(spec)
    chance, dialogue = chances.main, 0
    lines: list[Line] = []
    for split, size in split_sizes(spec.utterances).items():
        end, dialogue = len(lines) + size, dialogue if spec.folds else 0
        while len(lines) < end:
            everyone = company(spec, split, dialogue)
            fewest, most = min(2, len(everyone)), min(4, len(everyone))
            speakers = chance.sample(everyone, k=chance.randint(fewest, most))
            for turn in range(min(end - len(lines), chance.randint(*TURNS))):
                place = {"split": split, "dialogue": dialogue, "turn": turn}
                lines.append(_line(chances, rules, spec, chance.choice(speakers), **place))
            dialogue += 1
    return lines


def votes(spec: StandInSpec, lines: Sequence[Line]) -> list[list[float]]:
    """The share of the raters that chose each of EMOTIONS, for each line: [lines][7], each row summing to 1."""
    chance, rules = random.Random(f"{spec.seed} raters"), _of_one(spec)
    found = []
    for line in lines:
        row = rules.label[EMOTIONS.index(line.emotions[0])]
        chosen = [EMOTIONS.index(line.label), *(_draw(chance, row) for _ in range(RATERS - 1))]
        found.append([chosen.count(label) / RATERS for label in range(len(EMOTIONS))])
    return found


def folds(spec: StandInSpec, lines: Sequence[Line]) -> list[list[str]]:
    """What each line is in each fold: [lines][folds] of train, dev, test."""
    tested = [VOICES.index(line.speaker) % spec.folds for line in lines]
    dialogues, labels = [str(line.dialogue) for line in lines], [line.label for line in lines]
    return drawn_dev(tested, dialogues, labels, spec.folds, DEV_SHARE)


@dataclass(frozen=True)
class _Chances:
    """Sources that know nothing of each other: what one gives is the same however much is asked of another."""

    main: random.Random
    faces: random.Random
    sets: random.Random

    @classmethod
    def of(cls, seed: int) -> _Chances:
        return cls(random.Random(seed), random.Random(f"{seed} faces"), random.Random(f"{seed} sets"))


def _line(chances: _Chances, rules: Rules, spec: StandInSpec, speaker: Voice, **place: Any) -> Line:
    """`rules` are those of one emotion. One label is drawn in any case, so that what follows it stays as it is."""
    chance = chances.main
    truth = EMOTIONS[_draw(chance, rules.prior)]
    felt = _with_second(truth, chances.sets) if spec.several else (truth,)
    words, voice = (_shown(chance, channel, felt, chances.sets) for channel in (rules.words, rules.voice))
    label = _shown(chance, rules.label, (truth,), chances.sets)
    face = _shown(chances.faces, rules.face, felt, chances.sets)
    manner, text = MANNERS[voice], sentence(words, chance)
    pitch = manner.pitch + speaker.pitch + chance.gauss(0, PITCH_JITTER)
    rate = 175 * manner.rate * speaker.rate * (1 + chance.gauss(0, RATE_JITTER))
    return Line(
        labels=_annotated(felt, spec.label_noise, chances.sets) if spec.several else (label,),
        emotions=felt,
        words=words,
        voice=voice,
        face=face,
        text=text,
        heard=text if rules.audible else muted(text),
        speaker=speaker,
        pitch=min(99, max(0, round(pitch))),
        rate=round(rate),
        level=manner.level + chance.gauss(0, LEVEL_JITTER),
        look=chances.faces.getrandbits(32),
        **place,
    )


def _with_second(first: str, chance: random.Random) -> State:
    """The emotions of an utterance, in the order of EMOTIONS."""
    if first == "neutral" or chance.random() >= SECOND:
        return (first,)
    second = chance.choice([emotion for emotion in EMOTIONS if emotion not in (first, "neutral")])
    return tuple(emotion for emotion in EMOTIONS if emotion in (first, second))


def _shown(chance: random.Random, channel: Channel, felt: State, sets: random.Random) -> str:
    """What a channel shows of the emotions: of two, `sets` says which it is of."""
    one = sets.choice(felt) if len(felt) > 1 else felt[0]
    return EMOTIONS[_draw(chance, channel[EMOTIONS.index(one)])]


def _annotated(felt: State, noise: float, chance: random.Random) -> State:
    return chance.choice(SETS) if chance.random() < noise else felt


def _draw(chance: random.Random, row: Row) -> int:
    return chance.choices(range(len(row)), weights=row)[0]
