"""What is sent to a cluster so that it runs `orch sweep`: the command, the files, the variables. Knows no Ray.

All of it can be read by whoever reaches the dashboard, so that it holds no credential: those are the cluster's own.
What says where things are must hold there and not only here, or is refused.
"""

from __future__ import annotations

import getpass
import json
import os
import shlex
import shutil
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from orchestrator import __version__
from orchestrator.check import check_spec
from orchestrator.errors import SettingsError
from orchestrator.experiment import ExperimentSpec, Scale, load, read
from orchestrator.launch.cluster import FORWARDED
from orchestrator.launch.code_digest import SHIPPED, checkout, code_digest
from orchestrator.resolve import corpus_type
from orchestrator.settings import CORPORA, STANDARD, Settings, local_folder
from trainables.storage import Storage

FOR_THIS_MACHINE = ("cache", "cache_limit", "ray_address", "ray_api_server_address")
BY_FLAG = ("storage", "concurrency", "scale")
STOP_SECONDS = 60
"""How long a job that is told to stop may take to keep what it has."""
EXPERIMENT, USER, STORAGE = "orch.experiment", "orch.user", "orch.storage"


@dataclass(frozen=True)
class Flags:
    """Of `orch sweep`."""

    scale: Scale
    trials: int | None = None
    sets: tuple[str, ...] = ()
    seed: int | None = None
    concurrency: int | None = None
    fresh: bool = False


class JobRequest(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    experiment: str
    storage: str
    command: list[str]
    variables: dict[str, str]
    metadata: dict[str, str]
    files: dict[str, Path]
    """Where each is here, by its place in the job's folder."""

    @property
    def entrypoint(self) -> str:
        return f"exec {shlex.join(self.command)}"


def job_request(name: str, spec: ExperimentSpec, settings: Settings, flags: Flags, *, here: bool) -> JobRequest:
    """`here`: whether the cluster is this machine alone, so that its folders and addresses are those of the job.

    Raises SettingsError where a setting holds on this machine only, or would give a credential away.
    """
    storage = _storage(settings, here)
    files = dict(_code())
    if Path(name).suffix in (".yaml", ".yml"):
        files[f"experiments/{Path(name).name}"] = Path(name).absolute()
        name = f"experiments/{Path(name).name}"
    return JobRequest(
        id=f"orch-{spec.name}-{uuid.uuid4().hex[:6]}",
        experiment=spec.name,
        storage=storage,
        command=["python", "-m", "orchestrator.cli", "sweep", name, *_flags(flags, storage)],
        variables=_variables(settings, os.environ, here),
        metadata={
            EXPERIMENT: spec.name,
            USER: user(),
            STORAGE: storage,
            "orch.host": socket.gethostname(),
            "orch.version": f"{__version__} ({code_digest()})",
        },
        files=files,
    )


def experiment_there(
    name: str, settings: Settings, scale: Scale | None, sets: Sequence[str]
) -> tuple[ExperimentSpec, Scale]:
    """The experiment as it would run on the cluster, as far as this machine can know, checked; and its scale.

    Corpus roots are the cluster's: whether they are there the job will see.
    """
    data, used = read(name), scale or settings.scale or "full"
    corpus = corpus_type(data)
    stand_in = corpus in CORPORA and corpus not in settings.corpora and bool(data.get("stand_in"))
    spec = load(name, scale=used, stand_in=stand_in, sets=sets)
    check_spec(spec)
    return spec, used


def lay_out(request: JobRequest, folder: Path) -> None:
    """Copy the files of the request to their places in the empty folder."""
    for place, source in request.files.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copyfile(source, target)


def user() -> str:
    """Whose jobs these are."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return f"uid-{os.getuid()}"


def _code() -> dict[str, Path]:
    root = checkout()
    return {} if root is None else {name: root / name for name in SHIPPED}


def _flags(flags: Flags, storage: str) -> list[str]:
    given: list[str] = ["--scale", flags.scale, "--storage", storage]
    for option, value in (("--trials", flags.trials), ("--seed", flags.seed), ("--concurrency", flags.concurrency)):
        given += [option, str(value)] if value is not None else []
    for change in flags.sets:
        given += ["--set", change]
    return [*given, "--fresh"] if flags.fresh else given


def _storage(settings: Settings, here: bool) -> str:
    """The root as the job is given it. A `file://` root is taken for a folder that every node mounts."""
    root = settings.storage
    if not here and "://" not in root:
        told = f"storage = {root!r} (from {settings.origin('storage')})"
        raise SettingsError(
            f"{told} is a folder of this machine, and the cluster is elsewhere: give --storage s3://BUCKET/FOLDER, "
            "or --storage file:///FOLDER where every node of the cluster mounts that folder"
        )
    return Storage(root).root


def _variables(settings: Settings, environment: Mapping[str, str], here: bool) -> dict[str, str]:
    given = {k: v for k, v in settings.given().items() if k not in (*FOR_THIS_MACHINE, *BY_FLAG)}
    found = {_variable(name): _text(name, value, settings, here) for name, value in given.items()}
    found |= {name: environment[name] for name in FORWARDED if environment.get(name)}
    for name, value in found.items():
        _check_address(name, value, here)
    return {**found, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}


def _variable(name: str) -> str:
    return name.upper() if name.upper() in STANDARD else f"ORCH_{name.upper()}"


def _text(name: str, value: Any, settings: Settings, here: bool) -> str:
    if name in ("corpora", "alignments"):
        value = {key: _folder(f"{name}.{key}", root, settings, here) for key, root in value.items()}
    return value if isinstance(value, str) else json.dumps(value)


def _folder(name: str, root: str, settings: Settings, here: bool) -> str:
    if here:
        return str(Path(root).expanduser().absolute())
    if not Path(root).is_absolute():
        raise SettingsError(
            f"{name} = {root!r} (from {settings.origin(name)}): the job runs elsewhere; give the whole path "
            "that it has on the head of the cluster"
        )
    return root


def _check_address(name: str, value: str, here: bool) -> None:
    """Refuse what would give a credential away, and what means another thing on another machine."""
    if "://" not in value:
        return
    parts = urlsplit(value)
    if "@" in parts.netloc:
        raise SettingsError(
            f"{name}: it holds a user or a password, and who reaches the dashboard can read what a job is sent; "
            "set it in the environment of the cluster's nodes, and unset it here"
        )
    if not here and (
        local_folder(value) is not None or parts.scheme.startswith("sqlite") or _loops(parts.hostname)
    ):
        raise SettingsError(
            f"{name} = {value!r} is of this machine, and the cluster is elsewhere; give the address by which the "
            f"cluster reaches it, or unset it here where the cluster's nodes have it in their environment"
        )


def _loops(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False
