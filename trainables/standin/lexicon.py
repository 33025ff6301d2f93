"""What the stand-in's speakers say: every sentence is `{call}, {opening} {state} {close}.`

The call and the state are cue words of one emotion; no cue word belongs to two emotions or to the neutral
openings and closes, so that the words' emotion can be read off any sentence without error. It should not be heard,
though: a small network learns 70 words of a synthesiser from 800 utterances, and audio would have no ceiling of its
own. So speakers say a muted sentence unless the spec asks for audible words: the same for every emotion.
"""

from __future__ import annotations

import random
import re

CALLS: dict[str, tuple[str, ...]] = {
    "neutral": ("Okay", "Anyway", "Right", "Well", "Fine"),
    "surprise": ("Wow", "Whoa", "Gosh", "Really", "Goodness"),
    "fear": ("Help", "Careful", "Danger", "Run", "Hide"),
    "sadness": ("Alas", "Sorry", "Sadly", "Pity", "Sigh"),
    "joy": ("Hooray", "Yay", "Bravo", "Lovely", "Cheers"),
    "disgust": ("Yuck", "Gross", "Nasty", "Filthy", "Rotten"),
    "anger": ("Damn", "Enough", "Stop", "Idiot", "Silence"),
}
STATES: dict[str, tuple[str, ...]] = {
    "neutral": ("ready", "busy", "seated", "working", "listening"),
    "surprise": ("amazed", "astonished", "stunned", "startled", "speechless"),
    "fear": ("afraid", "scared", "terrified", "frightened", "nervous"),
    "sadness": ("lonely", "gloomy", "miserable", "tearful", "heartbroken"),
    "joy": ("happy", "glad", "delighted", "cheerful", "thrilled"),
    "disgust": ("sickened", "revolted", "repulsed", "queasy", "appalled"),
    "anger": ("furious", "angry", "mad", "annoyed", "outraged"),
}
OPENINGS = ("I'm", "we are", "she is", "he was", "they were", "you seem", "I feel", "everyone looks")
CLOSES = ("today", "now", "again", "at home", "in here", "this morning", "with them", "after lunch")

MUTED_CALL, MUTED_STATE = "Hey", "so"

_EMOTION_OF = {
    word.lower(): emotion for bank in (CALLS, STATES) for emotion, words in bank.items() for word in words
}


def sentence(emotion: str, chance: random.Random) -> str:
    """A sentence whose words carry `emotion`; five calls, five states and 64 frames make 1600 for each."""
    call, state = chance.choice(CALLS[emotion]), chance.choice(STATES[emotion])
    return f"{call}, {chance.choice(OPENINGS)} {state} {chance.choice(CLOSES)}."


def muted(text: str) -> str:
    """The sentence with its cue words replaced, which is all that a listener gets of it."""
    _, rest = text.split(",")
    states = "|".join(word for words in STATES.values() for word in words)
    return MUTED_CALL + "," + re.sub(rf"\b({states})\b", MUTED_STATE, rest)


def emotion_of(text: str) -> str:
    """The emotion that the words carry. Raises ValueError where they carry none, or more than one."""
    found = {_EMOTION_OF[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _EMOTION_OF}
    if len(found) != 1:
        raise ValueError(f"{text!r}: cue words of {sorted(found) or 'no emotion'}; a sentence has one emotion's")
    return found.pop()
