"""The pretrained checkpoints that the experiments name: found locally, in the hub's cache, or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from orchestrator.doctor.finding import Finding, brief
from orchestrator.settings import Settings
from trainables.errors import OrchError
from trainables.spec import Pretrained

SHOWN_USERS = 3


def checkpoints(settings: Settings) -> list[Finding]:
    return [_found(checkpoint, users) for checkpoint, users in _wanted().items()]


def _wanted() -> dict[Pretrained, list[str]]:
    """Each checkpoint of an experiment on its own corpus, and where it is named."""
    wanted: dict[Pretrained, list[str]] = {}
    for name, place, encoder in _encoders():
        users = wanted.setdefault(encoder, [])
        if f"{name} {place}" not in users:
            users.append(f"{name} {place}")
    return wanted


def _encoders() -> Iterator[tuple[str, str, Pretrained]]:
    from orchestrator.experiment import Scale, load, names

    for name in names():
        for scale in get_args(Scale):
            run = load(name, scale=scale).run
            for place in run.teachers.alone:
                encoder = getattr(run.teachers, place).encoder
                if isinstance(encoder, Pretrained):
                    yield name, place, encoder


def _found(checkpoint: Pretrained, users: list[str]) -> Finding:
    from trainables.pretrained import check_safetensors, local_folder

    subject, used = f"teacher {checkpoint.checkpoint}", _told(users)
    elsewhere = "or give a folder: --set run.teachers.<audio|text|visual>.encoder.checkpoint=DIR"
    try:
        folder = local_folder(checkpoint.checkpoint)
        place = folder or cached(checkpoint.checkpoint, checkpoint.revision)
        if place is None:
            mend = f"it is fetched when first used, or now: hf download {checkpoint.checkpoint}; {elsewhere}"
            return Finding(subject, "warn", f"not in the hub's cache {used}", mend)
        check_safetensors(place)
    except OrchError as error:
        return Finding(subject, "warn", f"{brief(error)} {used}", elsewhere)
    return Finding(subject, "ok", f"{place} {used}")


def _told(users: list[str]) -> str:
    """Which teachers it is, or of how many experiments where they would fill lines."""
    if len(users) > SHOWN_USERS:
        return f"(for {len({user.split()[0] for user in users})} experiments)"
    return f"(for {', '.join(users)})"


def cached(checkpoint: str, revision: str | None) -> Path | None:
    """The folder of the hub's cache that holds this checkpoint, None where there is none."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(checkpoint, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None
