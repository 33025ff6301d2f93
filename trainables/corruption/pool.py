"""The voices that a corpus lends to a babble."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.corpus import decoded, iter_tables, prefix, with_fold
from trainables.corruption.noise import Voice, Wave, babble
from trainables.determinism import derive
from trainables.errors import CorpusError
from trainables.storage import Storage

POOL_SIZE = 60
"""Utterances kept decoded: of five seconds each, 19 MB."""


@dataclass(frozen=True)
class BabblePool:
    """Utterances of the train split, decoded, in an order that `seed` and their keys alone decide."""

    voices: tuple[Voice, ...]

    @classmethod
    def read(
        cls, storage: Storage, corpus: str, fold: int | None = None, count: int = POOL_SIZE, seed: int = 0
    ) -> BabblePool:
        """Up to `count` train utterances of status `ok`; memory holds those and one shard of the corpus.

        Raises CorpusError where the train split has no utterance that can be heard.
        """
        wanted = _chosen(storage, corpus, fold, count, seed)
        found: dict[str, Voice] = {}
        for table in iter_tables(storage, corpus, ["uid", "speaker", "audio"]):
            for row, uid in enumerate(table["uid"].to_pylist()):
                if uid in wanted:
                    wave = decoded(table["audio"][row].as_py())
                    if wave.any():
                        found[uid] = Voice(table["speaker"][row].as_py(), wave)
        if not found:
            raise CorpusError(
                f"{storage.url(prefix(corpus))}: no train utterance has audio to make babble of; "
                "take 'babble' out of confirm.robustness.noises"
            )
        return cls(tuple(found[uid] for uid in wanted if uid in found))

    def babble(self, speaker: str, samples: int, voices: int, seed: int) -> Wave:
        """As `noise.babble` of this pool."""
        return babble(self.voices, speaker, samples, voices, seed)


def _chosen(storage: Storage, corpus: str, fold: int | None, count: int, seed: int) -> list[str]:
    uids = []
    for shard in iter_tables(storage, corpus, ["uid", "split", "folds", "status"]):
        table = with_fold(shard, fold)
        rows = zip(*(table[name].to_pylist() for name in ("uid", "split", "status")), strict=True)
        uids += [uid for uid, split, status in rows if split == "train" and status == "ok"]
    return sorted(uids, key=lambda uid: derive(seed, "babble", uid))[:count]
