"""What the symbols of phone sets say about syllables: which are nuclei, and which consonants may begin one.

ARPAbet (vowels with or without a stress digit; with the reduced, flapped and unreleased phones of TIMIT and Sphinx)
has a table of English onsets. Other sets (IPA, SAMPA, eSpeak NG's mnemonics) are read by their first symbol, and
onsets go by sonority. There a syllabic consonant is a nucleus too: one that is marked (IPA's stroke below, SAMPA's
`=`), or a nasal or liquid that no vowel is near ("haben" as h a: b m).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _onsets(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(onset.split()) for onset in text.split(","))


VOWELS = _names("AA AE AH AO AW AX AXH AXR AY EH ER EY IH IX IY OW OY UH UW UX")
_SYLLABIC = _names("EL EM EN")
_RELEASED = _names("B CH D DH DX F G HH HV JH K L M N NX P Q R S SH T TH TS V W WH Y Z ZH")
_CODA = _names("NG ENG BD DD GD KD PD TD")
"""Never first in a syllable."""
_ONSETS = _onsets(
    "P L,P R,B L,B R,T R,T W,D R,D W,K L,K R,K W,G L,G R,G W,F L,F R,TH R,TH W,SH R,HH W,"
    "S F,S K,S L,S M,S N,S P,S T,S W,S K L,S K R,S K W,S P L,S P R,S T R"
)
"""English onsets of more than one consonant, without those that end in Y."""
_BEFORE_Y = _onsets("P,B,T,D,K,G,F,V,TH,HH,M,N,S P,S T,S K")
"""What may stand before Y, and only where UW or UH follows: "mu-sic", but "can-yon"."""

_NUCLEI = frozenset("aeiouyAEIOUVY@&{}Q01236789" + "ɐɑɒæəɘɚɜɝɛɞɤɨɪɩɯɵøœɶɔʉʊʌʏᵻ")
_OFFGLIDES = frozenset("6ɐ")
"""The German `r` behind a vowel: "wir" is one syllable, "Feuer" two."""
_GLIDES = frozenset("jwɥɰʋ;")
_LIQUIDS = frozenset("lrRL4ɫɹɻɾʁʀʎɭ")
_NASALS = frozenset("mnMJɱɲɳ")
_CODA_NASALS = frozenset("Nŋ")
_SIBILANTS = frozenset("sSʃ")
_STOPS = frozenset("pbtdkgɡcq?ʔ")
_BEFORE_W = frozenset("tdkgɡsSʃTθhcq")
_NEVER_BEFORE_LIQUID = frozenset("zZʒvDðhxCç?ʔ")
_MARKS = "'\",%ˈˌ!_ "


def is_arpabet(labels: Sequence[str]) -> bool:
    """Whether these phones, of one utterance, are ARPAbet in one case, with a vowel among them."""
    found = {bare(label) for label in labels}
    known = VOWELS | _SYLLABIC | _RELEASED | _CODA
    one_case = all(label == label.upper() for label in labels) or all(label == label.lower() for label in labels)
    return one_case and found <= known and bool(found & (VOWELS | _SYLLABIC))


def bare(label: str) -> str:
    """An ARPAbet label in upper case without its stress digit."""
    return re.sub(r"[0-2]$", "", label).upper()


def arpabet_nuclei(labels: Sequence[str]) -> list[int]:
    return [i for i, label in enumerate(labels) if bare(label) in VOWELS | _SYLLABIC]


def arpabet_onset(consonants: Sequence[str], nucleus: str) -> bool:
    """Whether English syllables begin with these consonants before this vowel."""
    onset = tuple(bare(label) for label in consonants)
    if len(onset) < 2:
        return not onset or onset[0] not in _CODA
    if onset[-1] == "Y":
        return onset[:-1] in _BEFORE_Y and bare(nucleus) in ("UW", "UH", "UX")
    return onset in _ONSETS


def nuclei(labels: Sequence[str]) -> list[int]:
    """Where the vowels and syllabic consonants of a word are, in any other set."""
    found = [_is_vowel(label) for label in labels]
    for i in range(1, len(labels)):
        if found[i - 1] and _plain(labels[i])[:1] in _OFFGLIDES and not _is_diphthong(labels[i - 1]):
            found[i] = False
        if _is_sonorant(labels[i]) and not found[i - 1] and not _is_sonorant(labels[i - 1]):
            after = labels[i + 1 : i + 2]
            found[i] |= not any(_is_vowel(label) or _is_sonorant(label) for label in after)
    return [i for i, is_nucleus in enumerate(found) if is_nucleus]


def _is_vowel(label: str) -> bool:
    text = _plain(label)
    if "\u032f" in text:  # marked as not syllabic
        return False
    return bool(text) and (text[0] in _NUCLEI or "\u0329" in text or text.endswith("="))


def _is_diphthong(label: str) -> bool:
    return sum(char in _NUCLEI for char in _plain(label)) > 1


def _is_sonorant(label: str) -> bool:
    return _plain(label)[:1] in _NASALS | _CODA_NASALS | _LIQUIDS | _GLIDES | _OFFGLIDES


def onset(consonants: Sequence[str], vowel: str) -> bool:
    """Whether the consonants rise in sonority as an onset's do: a stop or fricative, then a liquid or glide.

    `s` and `ʃ` may stand before a stop or a nasal as well. `vowel` has no say; it is there for English.
    """
    first = [_plain(label)[:1] or "?" for label in consonants]
    if len(first) < 2:
        return not first or first[0] not in _CODA_NASALS
    if first[0] in _SIBILANTS and first[1] in _STOPS | _NASALS:
        return len(first) == 2 or (first[1] in _STOPS and onset(consonants[1:], vowel))
    if len(first) > 2:
        return False
    return _rises(*first)


def _rises(low: str, high: str) -> bool:
    if low in _GLIDES | _LIQUIDS | _CODA_NASALS:
        return False
    if high in ("w", "ʋ"):
        return low in _BEFORE_W
    if high in _GLIDES:
        return low not in "?ʔ"
    return high in _LIQUIDS and low not in _NASALS | _NEVER_BEFORE_LIQUID and not (low in "td" and high in "lɫ")


def _plain(label: str) -> str:
    """Decomposed, so that an accent comes after its letter, and without marks of stress before it."""
    return unicodedata.normalize("NFD", label).lstrip(_MARKS)
