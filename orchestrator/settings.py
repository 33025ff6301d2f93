"""Where things are and how much may be used: circumstance, never identity.

A value comes from the first of these that has it: a flag, the environment, `orch.toml` in the working directory
(or, where there is none, in the user's configuration folder), the default. `Settings.origin` says which it was.
Names that other tools have already given (`RAY_ADDRESS`, `RAY_API_SERVER_ADDRESS`, `MLFLOW_TRACKING_URI`) are used
as they are, the rest are `ORCH_...`; `HF_HOME`, `AWS_*` and `MLFLOW_S3_ENDPOINT_URL` are read by the libraries they
belong to.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_cache_dir, user_config_dir
from pydantic import AfterValidator, AliasChoices, Field, PrivateAttr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableError

from orchestrator.corpora import ALIGNED, CORPORA, AlignedName, CorpusName
from orchestrator.errors import SettingsError
from orchestrator.resources import NodeGroup
from trainables.errors import UserError
from trainables.storage.keys import checked_root

FILE = "orch.toml"
FILES = ("features", "manifest")
"""Those whose root may be a file."""

GPU = Path("/dev/nvidia0")
STANDARD = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "MLFLOW_TRACKING_URI")
"""Variables that other tools have named."""

NonEmpty = Annotated[str, Field(min_length=1)]


def _mlflow_default(data: dict[str, Any]) -> str:
    """SQLite beside the stored artifacts, or in the working directory for a remote root."""
    return f"sqlite:///{local_folder(data.get('storage', '')) or Path.cwd()}/mlflow.db"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="ORCH_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    storage: NonEmpty = "./orch-store"
    """Storage root: a folder or any fsspec URL."""
    storage_patience: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 300.0
    """Seconds that a storage root which is away is waited for, before what needs it is given up."""
    driver_patience: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Seconds that a sweep's other driver, which gives signs of life, is waited for before the sweep is refused."""
    tracking_patience: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    """Seconds that a finished sweep waits for MLflow to take what is left; the rest is sent by the next start."""
    cache: Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())] = Field(
        default_factory=lambda: Path(user_cache_dir("orch"))
    )
    """Local folder of what can be fetched again, such as memory-mapped transfer sets."""
    cache_limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """GB that the transfer sets in the cache may take; by default 100, and less where that leaves under 5 % of the
    disk free. A node of a cluster that was there before reads its own ORCH_CACHE_LIMIT."""
    corpora: dict[CorpusName, NonEmpty] = {}
    """The folder of each corpus, by its type (of `manifest` and `features`: the file, or the folder of it)."""
    alignments: dict[AlignedName, NonEmpty] = {}
    """The folder of TextGrids of each corpus, by its type; read where a corpus's alignment is `textgrid`."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Largest number of trials at once; by default what the cluster has room for."""
    scale: Literal["laptop", "full"] | None = None
    """By default `full` where there is a cluster or a GPU, else `laptop`."""
    ray_address: str | None = Field(None, validation_alias=AliasChoices("RAY_ADDRESS"))
    """The Ray cluster; by default a local one is started."""
    ray_api_server_address: str | None = Field(None, validation_alias=AliasChoices("RAY_API_SERVER_ADDRESS"))
    """http://host:8265, the dashboard that `orch submit` sends jobs to; by default the cluster is asked for it."""
    node_groups: dict[str, NodeGroup] = {}
    """What a Ray cluster that scales by itself may start, by the group's name. Only some clusters tell; of others
    what is not there yet is not counted upon, nor asked for, unless it is named here."""
    mlflow_tracking_uri: str = Field(
        default_factory=_mlflow_default, validation_alias=AliasChoices("MLFLOW_TRACKING_URI")
    )
    """The MLflow store; by default SQLite beside the stored artifacts."""
    experiment_prefix: str = ""
    """Put before the names of experiments in MLflow, where several users share a server."""

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def storage_folder(self) -> Path | None:
        """The storage root where it is a folder of this machine, else None."""
        return local_folder(self.storage)

    def cache_folder(self) -> Path:
        """The cache, made where it is not there; SettingsError where it cannot be.

        From here on its limit holds for this process and those that it starts.
        """
        if self.cache_limit is not None:
            os.environ["ORCH_CACHE_LIMIT"] = str(self.cache_limit)
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            told = f"cache = {str(self.cache)!r} (from {self.origin('cache')})"
            raise SettingsError(f"{told}: {error.strerror}; give a folder that can be written") from error
        return self.cache

    def corpus_root(self, corpus: str) -> Path | None:
        """The folder of a corpus, None where none is configured; SettingsError where it cannot be read.

        Of those in FILES it may be a file.
        """
        given = {str(name): root for name, root in self.corpora.items()}.get(corpus)
        if given is None:
            return None
        root = Path(given).expanduser().absolute()
        told = f"corpora.{corpus} = {given!r} (from {self.origin(f'corpora.{corpus}')})"
        file = corpus in FILES and root.is_file()
        if not (file or root.is_dir()):
            what = "file or folder" if corpus in FILES else "folder"
            raise SettingsError(
                f"{told}: there is no such {what}; mend it, or unset it to run on the stand-in corpus"
            )
        if not os.access(root, os.R_OK if file else os.R_OK | os.X_OK):
            raise SettingsError(f"{told}: the {'file' if file else 'folder'} cannot be read; mend its permissions")
        return root

    def alignment_folder(self, corpus: str, alignment: str) -> Path | None:
        """The folder of a corpus's TextGrids; None where `alignment`, a type of AlignmentSpec, reads none."""
        if alignment != "textgrid":
            return None
        given = {str(name): folder for name, folder in self.alignments.items()}.get(corpus)
        if given is None:
            raise SettingsError(
                f"alignment textgrid of {corpus}: no folder of TextGrids is given; set "
                f"ORCH_ALIGNMENTS__{corpus.upper()}, or alignments.{corpus} in {FILE}"
            )
        folder = Path(given).expanduser().absolute()
        if not folder.is_dir():
            told = f"alignments.{corpus} = {given!r} (from {self.origin(f'alignments.{corpus}')})"
            raise SettingsError(f"{told}: there is no such folder; give the one that the aligner wrote")
        return folder

    def stand_in_for(self, corpus: str) -> bool:
        """Whether the stand-in takes the place of this corpus, because no root of it is configured."""
        return corpus in CORPORA and self.corpus_root(corpus) is None

    def given(self) -> dict[str, Any]:
        """The settings that are not left at their default, as JSON knows them."""
        named = {name.partition(".")[0] for name in self._origins}
        return {name: value for name, value in self.model_dump(mode="json").items() if name in named}

    def origin(self, name: str) -> str:
        """Where the value of a setting (by dotted name) comes from, e.g. `ORCH_STORAGE` or `default`."""
        return self._origins.get(name, "default")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file())


def load(flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings in force; flags that are None count as not given. Raises SettingsError naming the culprit.

    From here on the storage's patience holds for this process and those that it starts.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    origins = {**_file_origins(), **_environment_origins()}
    origins |= {path: _flag(path) for path, _ in _leaves(given)}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise SettingsError(_first_fault(error, origins)) from error
    settings._origins.update(origins)
    try:
        checked_root(settings.storage)
    except UserError as error:
        raise SettingsError(f"{error}; it comes from {settings.origin('storage')}") from None
    if "storage_patience" in origins:
        os.environ["ORCH_STORAGE_PATIENCE"] = str(settings.storage_patience)
    return settings


def config_file() -> Path | None:
    """The `orch.toml` in force: the working directory's, else the user's, else None."""
    for folder in (Path.cwd(), Path(user_config_dir("orch"))):
        if (folder / FILE).is_file():
            return folder / FILE
    return None


def local_folder(root: str) -> Path | None:
    """The folder that a storage root names, None where it is not on this machine."""
    scheme, separator, rest = root.partition("://")
    if not separator:
        return Path(root).expanduser().absolute()
    return Path(rest).absolute() if scheme in ("file", "local") else None


def cores() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_scale(settings: Settings) -> tuple[Literal["laptop", "full"], str]:
    """The scale to run at where no flag says, and why."""
    if settings.scale:
        return settings.scale, f"from {settings.origin('scale')}"
    if settings.ray_address:
        return "full", f"the cluster at {settings.ray_address}"
    if GPU.exists():
        return "full", "there is a GPU"
    return "laptop", "no cluster and no GPU; --scale full for the whole search"


def _flag(path: str) -> str:
    section = path.partition(".")[0]
    return {"corpora": "--root", "alignments": "--alignment"}.get(section, f"--{path.replace('_', '-')}")


def _file_origins() -> dict[str, str]:
    path = config_file()
    if path is None:
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    known = sorted(Settings.model_fields)
    for key in found:
        if key not in known:
            raise SettingsError(f"{path}: there is no setting {key!r}; settings are {', '.join(known)}")
    return {name: str(path) for name, _ in _leaves(found)}


def _environment_origins() -> dict[str, str]:
    for variable, value in os.environ.items():
        if variable.upper().startswith(("ORCH_CORPORA__", "ORCH_ALIGNMENTS__")) and not value:
            raise SettingsError(f"{variable} is set but empty; give the corpus's folder, or unset it")
    names = {variable.upper(): variable for variable in os.environ}
    origins: dict[str, str] = {}
    for path, _ in _leaves(_environment()):
        standard = path.upper() if path.upper() in STANDARD else None
        variable = standard or f"ORCH_{path.upper().replace('.', '__')}"
        origins[path.lower()] = names.get(variable, "the environment")
    return origins


def _environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(Settings)()
    except UnreadableError as error:
        field = str(error).partition('"')[2].partition('"')[0]
        raise SettingsError(f"ORCH_{field.upper()}: its value is not JSON; write a mapping in braces") from error


def _leaves(data: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{under}{key}.")
        else:
            yield f"{under}{key}", value


def _first_fault(error: ValidationError, origins: Mapping[str, str]) -> str:
    fault = error.errors(include_url=False)[0]
    parts = [str(part) for part in fault["loc"] if part != "[key]"]
    name = ".".join(parts).lower()
    if parts[0] == "corpora" and "[key]" in fault["loc"]:
        message = f"there is no corpus {parts[1]!r} with a root; corpora are {', '.join(CORPORA)}"
    elif parts[0] == "alignments" and "[key]" in fault["loc"]:
        message = f"there is no corpus {parts[1]!r}; corpora are {', '.join(ALIGNED)}"
    else:
        message = f"{fault['msg']} (given: {fault['input']!r})"
    beside = (origin for path, origin in origins.items() if path.startswith(f"{name.rpartition('.')[0]}."))
    return f"{name}: {message}; it comes from {origins.get(name) or next(beside, 'a flag')}"


__all__ = ["CORPORA", "FILE", "Settings", "config_file", "cores", "default_scale", "load", "local_folder"]
