"""Which environment variables something reads: our settings, and the libraries' as their own source spells them."""

from __future__ import annotations

import difflib
import json
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from orchestrator.corpora import ALIGNED, CORPORA
from orchestrator.errors import SettingsError
from orchestrator.infra.overlays import INFRA
from orchestrator.settings import STANDARD, Settings
from trainables.storage.keys import checked_root

PREFIXES = ("ORCH_", "MLFLOW_", "AWS_")
_SOURCES = {
    "mlflow": ("environment_variables.py", "server/auth/__init__.py"),
    "botocore": ("configprovider.py", "credentials.py", "utils.py"),
}
"""Read as text: to import MLflow takes seconds."""


@lru_cache(maxsize=1)
def known() -> frozenset[str]:
    """Every name under PREFIXES that something reads."""
    found = set(STANDARD) | {"AWS_ENDPOINT_URL_S3"}
    found |= {f"ORCH_{name.upper()}" for name in Settings.model_fields} - {f"ORCH_{name}" for name in STANDARD}
    found |= {f"ORCH_CORPORA__{name.upper()}" for name in CORPORA}
    found |= {f"ORCH_ALIGNMENTS__{name.upper()}" for name in ALIGNED}
    for package, files in _SOURCES.items():
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for file in files:
                found |= _names(Path(folder) / file)
    for script in (INFRA / "docker").glob("*.sh"):
        found |= _names(script)
    return frozenset(found)


def _names(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    return set(re.findall(r"\b(?:ORCH|MLFLOW|AWS)_[A-Z0-9_]*[A-Z0-9]\b", path.read_text(encoding="utf-8")))


def misspelt(name: str) -> str:
    """What was meant, where nothing reads a variable of that name; empty where all is well."""
    near_standard = difflib.get_close_matches(name, STANDARD, 1, cutoff=0.85)
    if name in known() or (not name.startswith(PREFIXES) and not near_standard):
        return ""
    near = near_standard or difflib.get_close_matches(name, sorted(known()), 1)
    return f"it is spelled {near[0]}" if near else "leave it away"


def wrong_value(name: str, value: str) -> None:
    """SettingsError where a variable of ours has a value that the settings refuse."""
    field = Settings.model_fields.get(name.lower() if name in STANDARD else name.removeprefix("ORCH_").lower())
    if field is None or not (name in STANDARD or name.startswith("ORCH_")):
        return
    try:
        TypeAdapter(_type(field)).validate_python(_given(name, value))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise SettingsError(" ".join([*map(str, fault["loc"]), fault["msg"]])) from error
    except json.JSONDecodeError as error:
        raise SettingsError(f"not JSON: {error}") from error
    if name == "ORCH_STORAGE":
        checked_root(value)


def _given(name: str, value: str) -> Any:
    return json.loads(value) if name in ("ORCH_NODE_GROUPS", "ORCH_CORPORA", "ORCH_ALIGNMENTS") else value


def _type(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
