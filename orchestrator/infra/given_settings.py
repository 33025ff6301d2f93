"""`--setting NAME=VALUE`: where things are in a cluster of one's own, for every Ray pod and for MLflow.

A bucket and its region are every cluster's own, and an overlay over an overlay is much to write for two lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from orchestrator.errors import ManifestError
from orchestrator.infra.rules.secrecy import SECRET_NAME
from orchestrator.infra.spelling import PREFIXES, misspelt, wrong_value
from trainables.errors import UserError

CONFIG = "orch-settings"
OTHERS = ("HF_", "RAY_")
"""Of variables whose spelling is not known here."""


def settings_patch(given: Sequence[str]) -> dict[str, Any]:
    """A patch of the ConfigMap. ManifestError for what is no setting, is refused by it, or is a secret."""
    steps = [{"op": "add", "path": f"/data/{name}", "value": value} for name, value in map(_checked, given)]
    return {"target": {"version": "v1", "kind": "ConfigMap", "name": CONFIG}, "patch": json.dumps(steps)}


def credential(text: str) -> bool:
    """Whether a URL in the text carries a user or a password."""
    return re.search(r"://[^/\s'\"]*@", text) is not None


def _checked(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise ManifestError(f"--setting {text}: give NAME=VALUE, such as ORCH_STORAGE=s3://bucket/orch")
    if SECRET_NAME.search(name) or credential(value):
        raise ManifestError(
            f"--setting {name}: it holds a secret, and whoever reads the manifest sees it; give it as a Secret of "
            "the namespace"
        )
    known = (*PREFIXES, *OTHERS)
    way = misspelt(name) if name.startswith(known) else f"settings begin with {', '.join(known)}"
    if way:
        raise ManifestError(f"--setting {name}: nothing reads that variable; {way}")
    try:
        wrong_value(name, value)
    except UserError as error:
        raise ManifestError(f"--setting {text}: {error}") from error
    return name, value
