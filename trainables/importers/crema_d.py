"""CREMA-D (Cao et al., IEEE TAFFC 2014): acted clips of 91 actors, and what the crowd heard and saw in them.

Votes, and with `labels: perceived` the labels too, are of the raters who were given what the corpus is read with:
the voice with audio, the face with visual, both with both (and the voice with text alone). `perceived` is the
emotion with the most votes, and clips with a tie are left out. Shares of the raters come from `tabulatedVotes.csv`;
`summaryTable.csv` alone says which emotion was chosen most, but not by how many.

Folds are by actor: fold k of n tests the actors k + 1, k + 1 + n and so on of those that are there, and the next
fold is dev; they are the same for both kinds of labels. What is broken or silent is found by decoding it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.corpus import SPLITS
from trainables.errors import CorpusError
from trainables.folds import gather, next_is_dev
from trainables.importers import crema_d_votes as votes
from trainables.importers.base import Prepared, Progress
from trainables.importers.crema_d_layout import EMOTIONS, SENTENCES, Layout, find_layout, video_of
from trainables.importers.files import plural, some
from trainables.spec import CremaDSpec

_OF_LETTER = dict(zip(votes.LETTERS, EMOTIONS.values(), strict=True))
_TABULATED, _SUMMARY, _ACTORS = "tabulatedVotes.csv", "summaryTable.csv", "VideoDemographics.csv"


@dataclass(frozen=True)
class Ratings:
    """By the clip's name: votes per emotion, and the letters of most votes; empty where no table has them."""

    counts: Mapping[str, Sequence[int]]
    majorities: Mapping[str, str]

    def majority(self, name: str) -> str:
        return self.majorities.get(name, votes.NO_VOTES)


class CremaDImporter:
    labels = tuple(EMOTIONS.values())
    expected = {"all": 7442}
    stand_in = False

    def source_digest(self, spec: CremaDSpec, root: Path | None) -> str:
        return find_layout(root, spec.modalities).digest()

    def prepare(self, spec: CremaDSpec, root: Path | None, out: Path, workers: int, progress: Progress) -> Prepared:
        from trainables.importers.rows import RawRow, write_rows

        layout = find_layout(root, spec.modalities)
        for clips in (layout.sound, layout.pictures):
            if clips:
                clips.check_copies()
        given = votes.presentation(spec.modalities)
        ratings = _ratings(layout, given, spec)
        rows, excluded = [], Counter[str]()
        for name, splits in zip(layout.names, _folds(layout, spec), strict=True):
            label = EMOTIONS[name[9:12]] if spec.labels == "acted" else _OF_LETTER.get(ratings.majority(name))
            if label is None:
                excluded[ratings.majority(name)] += 1
                continue
            video = video_of(layout, name)
            row = RawRow(
                uid=name,
                split=splits[0],
                dialogue=name,  # acted sentence by sentence
                speaker=name[:4],
                label=label,
                text=SENTENCES[name[5:8]],
                clip=layout.sound.of[name].path if layout.sound else video,
                folds=splits,
                votes=votes.shares(ratings.counts.get(name)),
                video=video,
            )
            rows.append(row)
        remarks = [*dict.fromkeys(layout.remarks()), *_unrated(layout, ratings, [row.uid for row in rows])]
        written = write_rows(rows, spec, out, workers, progress, remarks=remarks, root=root)
        facts = {
            "speaker_disjoint": list(SPLITS),
            "votes_of": given,
            "excluded": dict(excluded.most_common()),
            "expected": self.expected if spec.labels == "acted" else {},
        }
        return Prepared(written.rows, written.problems, {**written.info, **facts, **_actors(layout)})


def _folds(layout: Layout, spec: CremaDSpec) -> list[list[str]]:
    try:
        return next_is_dev(gather([name[:4] for name in layout.names], spec.fold_count), spec.fold_count)
    except ValueError as error:
        raise CorpusError(f"{layout.root}: CREMA-D, protocol {spec.protocol}, by actor: {error}") from error


def _ratings(layout: Layout, given: votes.Presentation, spec: CremaDSpec) -> Ratings:
    tabulated, summary = layout.tables.get(_TABULATED), layout.tables.get(_SUMMARY)
    counts = votes.read_counts(tabulated, given) if tabulated else {}
    if spec.labels == "acted":
        return Ratings(counts, {})
    if tabulated:
        return Ratings(counts, {name: votes.majority(of) for name, of in counts.items()})
    if summary is None:
        raise CorpusError(
            f"{layout.root}: labels: perceived needs the raters' votes, processedResults/{_TABULATED} (or "
            f"{_SUMMARY}), and neither lies below it; take them from the corpus's repository, or labels: acted"
        )
    return Ratings(counts, votes.read_majorities(summary, given))


def _unrated(layout: Layout, ratings: Ratings, names: Sequence[str]) -> Iterator[str]:
    if _TABULATED not in layout.tables:
        yield f"rows have no votes: there is no {_TABULATED}, as in processedResults of the corpus's repository"
        return
    unrated = [name for name in names if votes.shares(ratings.counts.get(name)) is None]
    if unrated:
        yield f"{plural(len(unrated), 'row has', 'rows have')} no votes in {_TABULATED}: {some(unrated)}"


def _actors(layout: Layout) -> dict[str, dict[str, str] | dict[str, int]]:
    path = layout.tables.get(_ACTORS)
    if path is None:
        return {}
    known = votes.read_actors(path)
    present = [actor for actor in sorted({name[:4] for name in layout.names}) if actor in known]
    return {
        "genders": {actor: known[actor][0] for actor in present},
        "ages": {actor: known[actor][1] for actor in present},
    }
