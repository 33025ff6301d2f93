"""The stand-in corpus: made by rule in MELD's layout, then read like MELD, with its ceilings in the record."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.alignment.base import Alignment, Segment
from trainables.corpus import joined
from trainables.errors import CorpusError
from trainables.importers.base import Prepared, Progress
from trainables.importers.meld_layout import find_layout
from trainables.spec import EMOTIONS, StandInSpec
from trainables.spec.base import MODALITIES

if TYPE_CHECKING:
    from trainables.standin.rules import Rules

WARNING = (
    "This is the stand-in corpus, synthetic speech and drawn faces with emotions by rule: "
    "its scores say whether the machinery works and nothing about MELD."
)


class StandInImporter:
    labels = EMOTIONS
    expected: dict[str, int] = {}
    stand_in = True

    def source_digest(self, spec: StandInSpec, root: Path | None) -> str:
        """Of the rules' tables and the synthesiser's version: there are no source files."""
        from trainables.standin.rules import tables

        _refuse(root)
        return hashlib.sha256(f"{tables()}{_synthesiser()}".encode()).hexdigest()

    def prepare(
        self, spec: StandInSpec, root: Path | None, out: Path, workers: int, progress: Progress
    ) -> Prepared:
        """Raises UserError naming the extra where speech is wanted and eSpeak NG is not installed."""
        from trainables.importers.meld_tree import import_tree
        from trainables.standin.writer import write_tree

        _refuse(root)
        with tempfile.TemporaryDirectory(prefix="orch-standin-") as folder:
            tree, alignments = Path(folder), {}
            for done, said in enumerate(write_tree(spec, tree, workers), start=1):
                words, phones = (tuple(Segment(*span) for span in spans) for spans in (said.words, said.phones))
                if "audio" in spec.modalities:
                    alignments[said.uid] = Alignment(words, phones, source="synthesiser")
                progress(done // 2, spec.utterances)  # making is the first half of the work, reading the other

            def read(done: int, total: int) -> None:
                progress((total + done) // 2, total)

            layout = find_layout(tree, media=spec.modalities != ("text",))
            facts = dict(_rows(spec))
            prepared = import_tree(layout, spec, out, workers, read, alignments=alignments, facts=facts)
        rows = {"all": spec.utterances} if spec.folds else prepared.rows
        return Prepared(rows, prepared.problems, {**prepared.info, **_facts(spec)})


def _rows(spec: StandInSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """(uid in the tree, what the raters said or the labels are, and what the row is in each fold) of every line.

    Over folds the split of the tree means nothing, so uid and dialogue leave it out.
    """
    from trainables.standin.rules import folds, plan, votes

    lines = plan(spec)
    parts = folds(spec, lines) if spec.folds else [[]] * len(lines)
    if spec.several:
        targets = [[float(emotion in line.labels) for emotion in EMOTIONS] for line in lines]
        said = [{"targets": own, "label": joined(own, EMOTIONS)} for own in targets]
    else:
        said = [{"votes": shares} for shares in votes(spec, lines)]
    for line, told, own in zip(lines, said, parts, strict=True):
        dialogue = f"dia{line.dialogue}"
        names = (
            {"uid": f"{dialogue}-utt{line.turn}", "dialogue": dialogue, "split": own[0], "folds": own}
            if own
            else {}
        )
        yield line.uid, {**told, **names}


def _facts(spec: StandInSpec) -> dict[str, Any]:
    """What the record says of a stand-in: that it is one, how well anyone can do, and the rules."""
    from trainables.standin.rules import RATERS, rules_of

    rules = rules_of(spec)
    return {
        "stand_in": True,
        "warning": WARNING,
        **_ceilings(spec, rules),
        "rules": asdict(rules),
        "raters": RATERS if spec.rated else 0,
        "speaker_disjoint": ["test"] if spec.folds else [],
        "synthesiser": _synthesiser(),
    }


def _ceilings(spec: StandInSpec, rules: Rules) -> dict[str, dict[str, float]]:
    """`ceilings` (weighted F1) and `ceilings_<score>` by every choice of the modalities read, as "audio+text"."""
    from trainables.standin.ceilings import ceilings
    from trainables.standin.set_ceilings import set_ceilings

    bounds = set_ceilings(rules) if spec.several else ceilings(rules)
    unread = set(MODALITIES) - set(spec.modalities)
    kept = {name: bound for name, bound in bounds.items() if not unread & set(name.split("+"))}
    first, *others = (score.name for score in fields(next(iter(kept.values()))))
    keys = {"ceilings": first, **{f"ceilings_{score}": score for score in others}}
    return {key: {name: getattr(bound, score) for name, bound in kept.items()} for key, score in keys.items()}


def _synthesiser() -> str:
    try:
        return f"espeakng-loader {version('espeakng-loader')}"
    except PackageNotFoundError:
        return "no eSpeak NG"


def _refuse(root: Path | None) -> None:
    if root is not None:
        raise CorpusError(f"the stand-in is made by rule and reads no folder, but was given {root}; leave it out")
