"""`orch prepare`: the importer alone, and what it found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.options import SETS, STORAGE
from orchestrator.corpora import AnyCorpusName

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import ValidationError

    from orchestrator.settings import Settings
    from trainables.spec import CorpusSpec


def prepare(
    corpus: Annotated[AnyCorpusName, typer.Argument(help="Which corpus.")],
    *,
    root: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Where the corpus lies; of a manifest or features, the file or its folder."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 unless every row is ok and every count official.")
    ] = False,
    modalities: Annotated[
        str | None, typer.Option(metavar="LIST", help="As audio,text or text: what is not named is not read.")
    ] = None,
    alignment: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE[=PLACE]",
            help="Words, phones and syllables by: corpus, textgrid=DIR, ctc=CHECKPOINT or proportional.",
        ),
    ] = None,
    sets: SETS = None,
    storage: STORAGE = None,
) -> None:
    """Read a corpus into validated rows, and count them against the official ones."""
    from orchestrator.display.choose import console, is_terminal
    from orchestrator.display.corpus import corpus_view
    from orchestrator.display.progress import counting
    from orchestrator.settings import cores
    from trainables.corpus import prefix
    from trainables.prepare import prepare as run
    from trainables.prepare import problem_table
    from trainables.storage import Storage

    spec, textgrids = corpus_spec(corpus, modalities, alignment, sets or ())
    settings = settings_with(corpus, {"corpora": root, "alignments": textgrids}, storage)
    folder = root_of(corpus, settings)
    store = Storage(settings.storage)
    with counting(f"prepare {corpus}", sys.stderr, live=is_terminal(sys.stderr)) as progress:
        alignments = settings.alignment_folder(corpus, spec.alignment.type)
        record = run(store, spec, folder, cores(), progress, alignments=alignments)
    found = problem_table(record)
    place = store.url(prefix(record.fingerprint))
    console(sys.stdout).print(corpus_view(found, place, record.info.get("ceilings")))
    if strict and not found.complete:
        raise typer.Exit(1)


def settings_with(corpus: str, places: Mapping[str, str | None], storage: str | None) -> Settings:
    """The settings in force, with the places that flags name for this corpus."""
    from orchestrator.errors import SettingsError
    from orchestrator.settings import load

    if places["corpora"] is not None and corpus == "standin":
        raise SettingsError("--root: the stand-in corpus is made by rule and lies nowhere; leave --root out")
    flags = {name: {corpus: place} for name, place in places.items() if place is not None}
    return load({"storage": storage, **flags})


def root_of(corpus: str, settings: Settings) -> Path | None:
    from orchestrator.errors import SettingsError

    folder = settings.corpus_root(corpus)
    if folder is None and corpus != "standin":
        raise SettingsError(
            f"{corpus} has no root: give --root DIR, or set ORCH_CORPORA__{corpus.upper()}, "
            f"or corpora.{corpus} in orch.toml"
        )
    return folder


def corpus_spec(
    corpus: str, modalities: str | None, alignment: str | None, sets: Sequence[str] = ()
) -> tuple[CorpusSpec, str | None]:
    """The spec of a corpus at its defaults but for these, and the folder of TextGrids that `alignment` names."""
    from pydantic import TypeAdapter, ValidationError

    from orchestrator.errors import SettingsError
    from trainables.spec import CorpusSpec

    data: dict[str, object] = {"type": corpus, **_changes(sets)}
    if modalities is not None:
        data["modalities"] = [name.strip() for name in modalities.split(",")]
    kind, _, place = (alignment or "").partition("=")
    if alignment is not None:
        data["alignment"] = {"type": kind} | ({"checkpoint": place} if place and kind != "textgrid" else {})
    try:
        spec = TypeAdapter[CorpusSpec](CorpusSpec).validate_python(data)
    except ValidationError as error:
        if any("alignment" in fault["loc"] for fault in error.errors()):
            told = "give corpus, textgrid=DIR, ctc=CHECKPOINT or proportional"
            raise SettingsError(f"--alignment {alignment!r}: {told}") from error
        if modalities is not None and (told := _of_modalities(error)):
            raise SettingsError(f"--modalities {modalities!r}: {told}") from error
        raise SettingsError(f"--set {_told(error)} (corpus {corpus})") from error
    return spec, place if place and kind == "textgrid" else None


def _of_modalities(error: ValidationError) -> str:
    """What is wrong with them; empty where something else is."""
    for fault in error.errors():
        if "modalities" in fault["loc"]:
            return "give some of audio,text,visual"
        _, of_them, told = fault["msg"].partition("Value error, modalities")
        if of_them:
            return told.partition(": ")[2]
    return ""


def _told(error: ValidationError) -> str:
    fault = error.errors()[0]
    field = "".join(f"{part}: " for part in fault["loc"][1:])
    unknown = fault["type"] == "extra_forbidden"
    return field + ("there is no such field" if unknown else fault["msg"].removeprefix("Value error, "))


def _changes(sets: Sequence[str]) -> dict[str, object]:
    """The corpus's own fields, as `--set folds=5` changes them."""
    import yaml

    from orchestrator.errors import SettingsError
    from orchestrator.yaml_text import parse

    changes: dict[str, object] = {}
    for text in sets:
        field, equals, raw = text.partition("=")
        try:
            changes[field.strip()] = parse(raw)
        except yaml.YAMLError as error:
            raise SettingsError(f"--set {text!r}: the value is not YAML") from error
        if not equals or not field.strip():
            raise SettingsError(f"--set {text!r}: write it as field=value, e.g. folds=5")
    return changes
