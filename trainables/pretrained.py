"""Checkpoints of `transformers`, in a folder or on the hub: which one it is, and whether it can be loaded safely.

A local checkpoint is known by the content of its files, wherever it lies; one of the hub by its name and the
revision asked for: pin a commit there where the name alone may move. Loads no torch.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainables.errors import CheckpointError
from trainables.storage import sha256

_CONTENT = (".safetensors", ".json", ".txt", ".model")


def local_folder(checkpoint: str) -> Path | None:
    """The folder that a checkpoint names, or None for a hub name; a path that is no folder is an error."""
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    if checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") > 1:
        raise CheckpointError(f"checkpoint {checkpoint!r}: there is no such folder; give a folder or a hub name")
    return None


def checkpoint_identity(checkpoint: str, revision: str | None) -> dict[str, Any]:
    folder = local_folder(checkpoint)
    if folder is None:
        return {"hub": checkpoint, "revision": revision}
    check_safetensors(folder)
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in _CONTENT)
    return {"sha256": {p.name: _digest(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files}}


def check_safetensors(folder: Path) -> None:
    """Raise CheckpointError unless the folder holds a configuration and safetensors."""
    if not (folder / "config.json").exists():
        raise CheckpointError(f"checkpoint {folder}: no config.json in it; give a folder of save_pretrained")
    for index in folder.glob("*.safetensors.index.json"):
        _check_index(index)
    if any(folder.glob("*.safetensors")):
        return
    convert = f"AutoModel.from_pretrained('{folder}').save_pretrained('{folder}-safe')"
    raise CheckpointError(
        f"checkpoint {folder}: no *.safetensors in it, and pickled weights are never loaded; convert it once with "
        f'python -c "from transformers import AutoModel; {convert}", copy the tokenizer files, give the new folder'
    )


def check_source(source: str, revision: str) -> None:
    """Raise CheckpointError where `transformers` would unpickle weights: of a folder, or of a name on the hub."""
    folder = local_folder(source)
    if folder is not None:
        check_safetensors(folder)
        return
    from transformers.utils import cached_file

    index = cached_file(
        source,
        "model.safetensors.index.json",
        revision=revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )  # what keeps it from being had keeps the weights from it too, and they are asked for next
    if index is not None:
        _check_index(Path(index))


def _check_index(index: Path) -> None:
    """transformers takes the shards' names as they stand, and reads those that are no safetensors by pickle."""
    named = json.loads(index.read_text("utf-8")).get("weight_map", {}).values()
    other = next((name for name in named if Path(name).name != name or not name.endswith(".safetensors")), None)
    if other is not None:
        raise CheckpointError(f"{index}: it names {other!r}; only *.safetensors beside it are loaded")


@lru_cache(maxsize=256)
def _digest(path: str, size: int, changed: int) -> str:
    """`size` and `changed` (nanoseconds) only key the cache."""
    return sha256(Path(path))


def hub_cache() -> Path:
    """The hub's cache by the hub's own rules: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub."""
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or str(Path(home) / "hub")).expanduser()
