"""Who speaks in which split, where a corpus's user says so: shared speakers are remarked upon and not refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from trainables.corpus import SPLITS
from trainables.importers.files import plural

NOBODY = "unknown"
"""The speaker of a row that names none."""


def shared_speakers(heard: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """By split: who of those heard in it is heard in another split too."""
    others = {split: {who for other in SPLITS if other != split for who in heard[other]} for split in SPLITS}
    return {split: set(heard[split]) & others[split] for split in SPLITS}


def shared_remark(shared: Collection[str]) -> Iterator[str]:
    """What is to be said of the speakers that test shares."""
    if shared:
        yield (
            f"{plural(len(shared), 'speaker of test speaks', 'speakers of test speak')} in train or dev too, as "
            f"{min(shared)}: the scores are not those of unknown speakers"
        )
