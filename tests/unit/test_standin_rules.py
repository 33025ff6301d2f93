"""The stand-in's rules: what is drawn, by whom it is spoken, and that its words can be read back."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from pydantic import ValidationError

from trainables.spec import EMOTIONS, StandInSpec
from trainables.standin.expressions import EXPRESSIONS, LOOKS
from trainables.standin.lexicon import CALLS, CLOSES, OPENINGS, STATES, emotion_of, muted, sentence
from trainables.standin.rules import (
    AROUSAL,
    LIKENESS,
    SECOND,
    SETS,
    VALENCE,
    Channel,
    cast,
    folds,
    plan,
    rules_of,
    split_sizes,
    votes,
)
from trainables.standin.voices import MANNERS, VOICES

LINES = plan(StandInSpec(utterances=20_000))
SEVERAL = StandInSpec(utterances=20_000, several=True, label_noise=0.1)
SET_LINES = plan(SEVERAL)


def test_no_cue_word_is_shared() -> None:
    cues = [word.lower() for bank in (CALLS, STATES) for words in bank.values() for word in words]
    fillers = {word.lower() for frame in (*OPENINGS, *CLOSES) for word in frame.split()}
    assert len(cues) == len(set(cues)) == 70
    assert not fillers & set(cues)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_the_words_emotion_can_be_read_off_any_sentence(emotion: str) -> None:
    chance = random.Random(1)
    said = {sentence(emotion, chance) for _ in range(500)}
    assert {emotion_of(text) for text in said} == {emotion}
    assert len(said) > 400


@pytest.mark.parametrize("text", ["I'm here today.", "Wow, I'm furious today."])
def test_a_sentence_of_no_or_two_emotions_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one emotion"):
        emotion_of(text)


def test_a_listener_hears_the_same_whatever_the_emotion() -> None:
    said = {muted(f"{CALLS[e][i]}, I'm {STATES[e][i]} at home.") for e in EMOTIONS for i in range(5)}
    assert said == {"Hey, I'm so at home."}
    lines = plan(StandInSpec(utterances=300))
    assert all(line.heard == muted(line.text) != line.text for line in lines)
    assert all(len(line.heard.split()) == len(line.text.split()) for line in lines)


def test_audible_words_are_spoken_as_written() -> None:
    assert all(line.heard == line.text for line in plan(StandInSpec(utterances=30, audible_words=True)))


def test_a_plan_depends_on_its_spec_alone() -> None:
    spec = StandInSpec(utterances=50)
    assert plan(spec) == plan(spec)
    assert plan(spec) != plan(spec.model_copy(update={"seed": 1}))


def test_splits_are_of_melds_form() -> None:
    lines = plan(StandInSpec())
    assert split_sizes(1200) == Counter(line.split for line in lines) == {"train": 800, "dev": 150, "test": 250}
    assert len({line.uid for line in lines}) == 1200
    for split in ("train", "dev", "test"):
        own = [line for line in lines if line.split == split]
        dialogues = sorted({line.dialogue for line in own})
        assert dialogues == list(range(len(dialogues)))
        for dialogue in dialogues:
            turns = [line.turn for line in own if line.dialogue == dialogue]
            assert turns == list(range(len(turns)))
    assert {line.label for line in lines} == set(EMOTIONS)


@pytest.mark.parametrize("voices", [6, 12])
def test_guests_speak_in_one_split_alone(voices: int) -> None:
    train, dev, test = (set(cast(split, voices)) for split in ("train", "dev", "test"))
    assert len(train) == voices - 3 and train < dev and train < test
    assert len(dev - train) == 1 and len(test - train) == 2 and not (dev & test) - train
    spoken = {line.speaker for line in plan(StandInSpec(voices=voices))}
    assert spoken == set(VOICES[:voices])


@pytest.mark.parametrize("voices", [5, 13])
def test_there_are_six_to_twelve_voices(voices: int) -> None:
    with pytest.raises(ValidationError, match="voices"):
        StandInSpec(voices=voices)


def test_words_err_within_valence_voices_within_arousal_and_faces_within_likeness() -> None:
    rules = rules_of(StandInSpec())
    channels = (
        (rules.words, VALENCE),
        (rules.voice, AROUSAL),
        (rules.face, LIKENESS),
        (rules.label, (EMOTIONS,)),
    )
    for channel, groups in channels:
        for truth, row in zip(EMOTIONS, channel, strict=True):
            group = next(group for group in groups if truth in group)
            assert sum(row) == pytest.approx(1)
            assert {e for e, chance in zip(EMOTIONS, row, strict=True) if chance > 0} == set(group)
    assert rules.words[0][0] == rules.face[0][0] == pytest.approx(0.55)
    assert rules.label[0][0] == pytest.approx(0.95 + 0.05 / 7)


def test_no_two_emotions_are_mistaken_for_each_other_by_every_channel() -> None:
    for one, other in combinations(EMOTIONS, 2):
        together = [any({one, other} <= set(group) for group in groups) for groups in (VALENCE, AROUSAL, LIKENESS)]
        assert not all(together), (one, other)


@pytest.mark.parametrize("shown", ["words", "voice", "face", "label"])
def test_what_is_drawn_follows_the_rules(shown: str) -> None:
    channel: Channel = getattr(rules_of(StandInSpec()), shown)
    pairs = Counter((line.emotions[0], getattr(line, shown)) for line in LINES)
    for truth, row in zip(EMOTIONS, channel, strict=True):
        total = sum(pairs[truth, emotion] for emotion in EMOTIONS)
        for emotion, chance in zip(EMOTIONS, row, strict=True):
            spread = 5 * (chance * (1 - chance) / total) ** 0.5
            assert pairs[truth, emotion] / total == pytest.approx(chance, abs=spread + 1e-12)


def test_speakers_tell_nothing_of_the_emotion() -> None:
    shares = Counter((line.speaker.speaker, line.label == "neutral") for line in LINES)
    overall = sum(line.label == "neutral" for line in LINES) / len(LINES)
    for voice in VOICES:
        total = shares[voice.speaker, True] + shares[voice.speaker, False]
        spread = 5 * (overall * (1 - overall) / total) ** 0.5
        assert shares[voice.speaker, True] / total == pytest.approx(overall, abs=spread)


def test_every_emotion_has_a_manner() -> None:
    assert set(MANNERS) == set(EXPRESSIONS) == set(EMOTIONS)
    assert set(LOOKS) == {voice.speaker for voice in VOICES}
    assert all(0 <= line.pitch <= 99 and 100 < line.rate < 300 for line in LINES)


FOLDED = StandInSpec(utterances=600, folds=3)


def test_folds_change_nothing_of_a_corpus_without_them() -> None:
    """The first lines of the plan as it has always been."""
    first = [(line.uid, line.speaker.speaker, line.label, line.text) for line in plan(StandInSpec())[:3]]
    assert first == [
        ("train-dia0-utt0", "Ada", "anger", "Enough, she is outraged in here."),
        ("train-dia0-utt1", "Clara", "anger", "Damn, everyone looks mad now."),
        ("train-dia0-utt2", "Clara", "anger", "Stop, I'm furious now."),
    ]


@pytest.mark.parametrize(("voices", "count"), [(12, 3), (12, 5), (6, 6), (7, 2)])
def test_a_dialogue_is_among_voices_of_one_group_and_every_group_is_tested_once(voices: int, count: int) -> None:
    spec = StandInSpec(utterances=600, voices=voices, folds=count)
    lines = plan(spec)
    assert (
        len(lines)
        == len({line.uid for line in lines})
        == len({(line.dialogue, line.turn) for line in lines})
        == 600
    )
    groups: dict[int, set[int]] = {}
    for line in lines:
        groups.setdefault(line.dialogue, set()).add(VOICES.index(line.speaker) % count)
    assert all(len(group) == 1 for group in groups.values())
    assert {line.speaker for line in lines} == set(VOICES[:voices])
    parts = folds(spec, lines)
    for line, own in zip(lines, parts, strict=True):
        assert [fold for fold, part in enumerate(own) if part == "test"] == [VOICES.index(line.speaker) % count]


def test_dev_is_whole_dialogues_near_an_eighth_of_the_rest() -> None:
    lines = plan(FOLDED)
    parts = folds(FOLDED, lines)
    for fold in range(3):
        homes: dict[int, set[str]] = {}
        for line, own in zip(lines, parts, strict=True):
            homes.setdefault(line.dialogue, set()).add(own[fold])
        assert all(len(home) == 1 for home in homes.values())
        counts = Counter(own[fold] for own in parts)
        assert counts["dev"] / (counts["dev"] + counts["train"]) == pytest.approx(0.12, abs=0.03)


def test_raters_err_as_the_annotator_does_and_one_of_them_is_the_annotator() -> None:
    shares = votes(StandInSpec(utterances=20_000), LINES)
    assert all(sum(row) == pytest.approx(1) for row in shares)
    own = [row[EMOTIONS.index(line.label)] for row, line in zip(shares, LINES, strict=True)]
    assert min(own) == pytest.approx(1 / 3)
    right = [row[EMOTIONS.index(line.emotions[0])] * 3 - (line.labels == line.emotions)
             for row, line in zip(shares, LINES, strict=True)]  # fmt: skip
    expected = 0.95 + 0.05 / 7
    assert sum(right) / (2 * len(right)) == pytest.approx(
        expected, abs=5 * (expected * (1 - expected) / 40_000) ** 0.5
    )


def test_votes_are_the_same_for_the_same_seed() -> None:
    lines = plan(FOLDED)
    assert votes(FOLDED, lines) == votes(FOLDED, lines)
    assert votes(FOLDED.model_copy(update={"seed": 1}), lines) != votes(FOLDED, lines)


def test_what_faces_do_bears_on_nothing_else() -> None:
    """A corpus without pictures is the same whatever the faces' noise: only what is seen differs."""
    spec = StandInSpec(utterances=300)
    calm, wild = plan(spec), plan(spec.model_copy(update={"face_noise": 0.9}))
    assert [replace(line, face="", look=0) for line in calm] == [replace(line, face="", look=0) for line in wild]
    assert 60 < sum(one.face != other.face for one, other in zip(calm, wild, strict=True)) < 240


def test_with_several_an_utterance_has_one_or_two_emotions_and_neutral_is_alone() -> None:
    assert len(SETS) == len(set(SETS)) == 22
    assert {len(line.emotions) for line in SET_LINES} == {len(line.labels) for line in SET_LINES} == {1, 2}
    assert {line.emotions for line in SET_LINES} == {line.labels for line in SET_LINES} == set(SETS)
    assert all("neutral" not in state or len(state) == 1 for state in SETS)
    emotional = [line for line in SET_LINES if line.emotions != ("neutral",)]
    share = sum(len(line.emotions) == 2 for line in emotional) / len(emotional)
    assert share == pytest.approx(SECOND, abs=5 * (SECOND * (1 - SECOND) / len(emotional)) ** 0.5)


def test_several_change_nothing_of_who_speaks_and_how_a_sentence_is_built() -> None:
    alone = plan(StandInSpec(utterances=200))
    several = plan(StandInSpec(utterances=200, several=True))
    assert [(line.uid, line.speaker) for line in alone] == [(line.uid, line.speaker) for line in several]
    assert all(one.emotions[0] in other.emotions for one, other in zip(alone, several, strict=True))


@pytest.mark.parametrize("shown", ["words", "voice", "face", "labels"])
def test_what_is_drawn_of_several_follows_the_rules(shown: str) -> None:
    """The draws go emotion by emotion, the rules set by set."""
    rules = rules_of(SEVERAL)
    assert rules.states == SETS
    values = SETS if shown == "labels" else EMOTIONS
    channel: Channel = rules.label if shown == "labels" else getattr(rules, shown)
    pairs = Counter((line.emotions, getattr(line, shown)) for line in SET_LINES)
    for state, prior, row in zip(SETS, rules.prior, channel, strict=True):
        total = sum(pairs[state, value] for value in values)
        assert total / len(SET_LINES) == pytest.approx(prior, abs=5 * (prior / len(SET_LINES)) ** 0.5)
        for value, chance in zip(values, row, strict=True):
            spread = 5 * (chance * (1 - chance) / total) ** 0.5
            assert pairs[state, value] / total == pytest.approx(chance, abs=spread + 1e-12)


def test_each_channel_shows_one_of_two_emotions_by_itself() -> None:
    """Without errors: half the utterances of two emotions have words and voice of different ones."""
    clean = {"text_noise": 0.0, "prosody_noise": 0.0, "face_noise": 0.0, "label_noise": 0.0}
    lines = plan(SEVERAL.model_copy(update=clean))
    both = [line for line in lines if len(line.emotions) == 2]
    assert all({line.words, line.voice, line.face} <= set(line.emotions) for line in lines)
    assert all(line.labels == line.emotions for line in lines)
    for pair in (("words", "voice"), ("words", "face"), ("voice", "face")):
        apart = sum(getattr(line, pair[0]) != getattr(line, pair[1]) for line in both) / len(both)
        assert apart == pytest.approx(0.5, abs=5 * (0.25 / len(both)) ** 0.5)
