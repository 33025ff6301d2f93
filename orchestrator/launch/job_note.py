"""Which sweep a job drives: the job says so in the storage, whoever asks for the job reads it there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress

from pydantic import BaseModel, ConfigDict, ValidationError

from trainables.errors import OrchError
from trainables.storage import Storage, patience

FOLDER = "jobs"
PATIENCE_SECONDS = 10.0
FINISHED = ("completed", "pruned", "failed")
_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"


class JobNote(BaseModel):
    model_config = ConfigDict(frozen=True)

    sweep: str
    """Key of the sweep's folder below the storage root."""
    trials: int
    """In all."""


def job_id(environment: Mapping[str, str] = os.environ) -> str | None:
    """The id under which this process was submitted; None where it is no job."""
    with suppress(ValueError, AttributeError):
        found = json.loads(environment.get(_CONFIG) or "{}").get("metadata", {}).get("job_submission_id")
        return found if isinstance(found, str) else None
    return None


def note_sweep(storage: Storage, sweep: str, trials: int) -> None:
    """Called by whoever drives a sweep; does nothing where it runs in no job."""
    job = job_id()
    if job is not None:
        storage.write_text(_key(job), JobNote(sweep=sweep, trials=trials).model_dump_json())


def read_note(storage: Storage, job: str) -> JobNote | None:
    """None where the job has not come to its sweep yet. Raises what a storage that cannot be read raises."""
    if not storage.exists(_key(job)):
        return None
    try:
        return JobNote.model_validate_json(storage.read_bytes(_key(job)))
    except (ValidationError, FileNotFoundError):
        return None


def progress(root: str, job: str) -> str:
    """How far the job's sweep has come, in words, as far as its storage tells."""
    from collections import Counter

    from orchestrator.journal import Journal

    try:
        with patience(PATIENCE_SECONDS):
            storage = Storage(root)
            note = read_note(storage, job)
            if note is None:
                return "no sweep yet"
            states = Counter(str(record.state) for record in Journal(storage.at(note.sweep)).read())
    except (OrchError, OSError) as error:
        return f"its storage cannot be read from here: {' '.join(str(error).split())}"
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    done = sum(count for state, count in states.items() if state in FINISHED)
    return f"{done} of {note.trials} trials" + (f" ({told})" if told else "")


def _key(job: str) -> str:
    return f"{FOLDER}/{job}.json"
