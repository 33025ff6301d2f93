"""The conditions of a damaged test split, done to rows of a corpus: what is harmed is its raw column.

Everything that reads the rows afterwards (log-mel, word pieces, grey pictures, teachers) is that of clean rows.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.corpus import SAMPLE_RATE, decoded, train_texts
from trainables.corruption.noise import Wave, at_snr, white
from trainables.corruption.pictures import shown
from trainables.corruption.pool import BabblePool
from trainables.corruption.words import Confusions, counted, dropped, substituted
from trainables.determinism import derive
from trainables.spec.base import Modality
from trainables.spec.robustness import Condition, RobustnessSpec
from trainables.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Damages:
    """What the conditions of one fold of a corpus need, all of it taken from train."""

    spec: RobustnessSpec
    pool: BabblePool | None = None
    confusions: Confusions | None = None
    widths: Mapping[str, int] = field(default_factory=dict)
    """Of the vectors that stand in the place of a modality."""

    @classmethod
    def read(
        cls,
        storage: Storage,
        corpus: str,
        fold: int | None,
        *,
        conditions: Sequence[Condition],
        spec: RobustnessSpec,
        widths: Mapping[str, int],
    ) -> Damages:
        """CorpusError where babble is asked for and train has no audio."""
        wanted = {condition.damage for condition in conditions}
        pool = BabblePool.read(storage, corpus, fold, seed=spec.seed) if "babble" in wanted else None
        words = Confusions(counted(train_texts(storage, corpus, fold))) if "words_substituted" in wanted else None
        return cls(spec, pool, words, widths)

    def done(self, table: pa.Table, condition: Condition) -> pa.Table:
        """Rows of `trainables.corpus.schema()` under the condition; times, labels and what is absent stay."""
        import pyarrow as pa

        name = _column(condition.modality, self.widths)
        rows = zip(table["uid"].to_pylist(), table["speaker"].to_pylist(), table[name], strict=True)
        harmed = [self._harmed(condition, uid, speaker, value.as_py()) for uid, speaker, value in rows]
        place = table.schema.get_field_index(name)
        return table.set_column(place, table.schema.field(name), pa.array(harmed, table.schema.field(name).type))

    def _harmed(self, condition: Condition, uid: str, speaker: str, value: Any) -> Any:
        if not value:  # null, no picture or no word: nothing to harm
            return value
        seed, level = derive(self.spec.seed, condition.damage, uid), condition.level
        if condition.modality == "audio":
            return self._noisy(value, condition, speaker, seed)
        if condition.damage == "words_dropped":
            return dropped(value, level, seed)
        if condition.damage == "words_substituted":
            assert self.confusions is not None
            return substituted(value, level, seed, self.confusions)
        if "visual" in self.widths:
            steps = np.asarray(value, dtype=np.float32).reshape(-1, self.widths["visual"])
            return steps[shown(len(steps), level, seed)].ravel()
        return [value[index] for index in shown(len(value), level, seed)]

    def _noisy(self, flac: bytes, condition: Condition, speaker: str, seed: int) -> bytes:
        speech = decoded(flac)
        if condition.damage == "white":
            noise = white(len(speech), seed)
        else:
            assert self.pool is not None
            noise = self.pool.babble(speaker, len(speech), self.spec.voices, seed)
        return _encoded(at_snr(speech, noise, condition.level))


def _column(modality: Modality, widths: Mapping[str, int]) -> str:
    return f"{modality}_vectors" if widths else {"audio": "audio", "text": "text", "visual": "images"}[modality]


def _encoded(wave: Wave) -> bytes:
    """FLAC of 16 bits, as the corpus has it."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, SAMPLE_RATE, format="FLAC")
    return buffer.getvalue()
