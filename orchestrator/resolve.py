"""Which experiment a command means: its scale, its corpus or the stand-in, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.errors import SettingsError
from orchestrator.experiment import ExperimentSpec, Scale, load, read
from orchestrator.settings import Settings, default_scale


@dataclass(frozen=True)
class Resolved:
    spec: ExperimentSpec
    scale: Scale
    scale_why: str
    stand_in: bool
    """Whether the stand-in corpus takes the place of the experiment's own."""


def resolve(
    name: str,
    settings: Settings,
    *,
    scale: Scale | None = None,
    stand_in: bool | None = None,
    sets: Sequence[str] = (),
) -> Resolved:
    """The experiment as it would run here. None means: as the settings and this machine say."""
    used, why = (scale, "from --scale") if scale else default_scale(settings)
    on_stand_in = runs_on_stand_in(name, settings) if stand_in is None else stand_in
    spec = load(name, scale=used, stand_in=on_stand_in, sets=sets)
    return Resolved(spec, used, why, on_stand_in)


def runs_on_stand_in(name: str, settings: Settings) -> bool:
    """Whether the experiment's corpus has no root configured; SettingsError if it then cannot run at all."""
    data = read(name)
    corpus = corpus_type(data)
    if not settings.stand_in_for(corpus):
        return False
    if not data.get("stand_in"):
        raise SettingsError(
            f"{name}: its corpus has no root and it has no stand_in section; "
            f"set ORCH_CORPORA__{corpus.upper()} or, in orch.toml, corpora.{corpus}"
        )
    return True


def corpus_type(data: object) -> str:
    """The corpus that an experiment's YAML names; whatever is wrong with it is `load`'s to say."""
    for key in ("run", "corpus", "type"):
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, str) else "meld"
