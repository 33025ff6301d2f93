"""IEMOCAP's utterances from its texts, and the fold in which each one is what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainables.errors import CorpusError
from trainables.folds import drawn_dev, gather, paired_dev
from trainables.importers.iemocap_labels import classes, shares
from trainables.importers.iemocap_layout import Layout, Session
from trainables.importers.iemocap_texts import Ratings, Turn, read_evaluation, read_ratings, read_transcript
from trainables.spec import IemocapSpec

SCRIPTED = "scripted"
"""The turns of scripted dialogues among the excluded, where the improvised part alone is wanted."""


@dataclass(frozen=True)
class Utterance:
    """A turn whose label is in use. `number` is its place in time among all turns of its dialogue, from 0."""

    turn: Turn
    number: int
    label: str
    text: str | None
    """None where the transcript has no line of its id."""
    votes: list[float] | None


@dataclass(frozen=True)
class Texts:
    utterances: list[Utterance]
    turns: frozenset[str]
    """The uids of all turns, in use or not."""
    excluded: dict[str, int]
    """Turns left out, by their code, most first."""


def read_texts(layout: Layout, spec: IemocapSpec) -> Texts:
    """Raises CorpusError naming file, line and value for a label or category that is not IEMOCAP's."""
    chosen = classes(spec)
    utterances, turns, excluded = list[Utterance](), set[str](), Counter[str]()
    for session in layout.sessions:
        for dialogue, told, ratings, said in _dialogues(session):
            turns |= ratings.keys()
            if spec.part == "improvised" and "_impro" not in dialogue:
                excluded[SCRIPTED] += len(told)
                continue
            excluded.update(turn.code for turn in told if turn.code not in chosen.of)
            utterances += [
                Utterance(
                    turn,
                    number,
                    chosen.of[turn.code],
                    said.get(turn.uid),
                    shares(ratings[turn.uid].values(), chosen),
                )
                for number, turn in enumerate(told)
                if turn.code in chosen.of
            ]
    return Texts(utterances, frozenset(turns), dict(excluded.most_common()))


def group(utterance: Utterance, spec: IemocapSpec) -> str:
    """What may not be torn apart by a split: the row's `dialogue`.

    By session it is the dialogue. By speaker it is one speaker's part of it: the two speakers of a dialogue are
    test and dev there, which is the protocol's own choice. No dialogue of either has a turn in train all the same.
    """
    turn = utterance.turn
    return turn.dialogue if spec.protocol == "session" else turn.uid[: -len("000")]


def folds(utterances: Sequence[Utterance], spec: IemocapSpec) -> list[list[str]]:
    """[rows][folds]: the split of each utterance in each fold."""
    by_session = spec.protocol == "session"
    owners = [u.turn.session if by_session else u.turn.speaker for u in utterances]
    try:
        tested = gather(owners, spec.fold_count)
    except ValueError as error:
        raise CorpusError(f"IEMOCAP, protocol {spec.protocol}, of the utterances in use: {error}") from error
    if not by_session:
        # Sorted, the speakers of a session are neighbours: 01F, 01M, 02F, ...
        return paired_dev(tested, {fold: fold ^ 1 for fold in range(spec.fold_count)}, spec.fold_count)
    return drawn_dev(tested, [u.turn.dialogue for u in utterances], [u.label for u in utterances], spec.fold_count)


def _dialogues(session: Session) -> Iterator[tuple[str, list[Turn], Ratings, Mapping[str, str]]]:
    """Each dialogue's turns in time, the raters' categories and what is said.

    `EmoEvaluation` and its `Categorical` hold the same votes by the same raters; a copy may lack the latter.
    """
    filed: Ratings = {}
    for path in session.ratings.values():
        for uid, by_rater in read_ratings(path).items():
            filed.setdefault(uid, {}).update(by_rater)
    for dialogue, path in session.evaluations.items():
        turns, told = read_evaluation(path)
        stray = [turn.uid for turn in turns if turn.dialogue != dialogue]
        if stray:
            raise CorpusError(f"{path}: {stray[0]} is not a turn of this dialogue")
        ratings = {turn.uid: told.get(turn.uid, {}) | filed.get(turn.uid, {}) for turn in turns}
        yield dialogue, turns, ratings, read_transcript(session.transcripts[dialogue])
