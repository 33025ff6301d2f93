"""The dashboard of a Ray cluster, which takes jobs: where it is, and what is wrong where it does not answer."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from orchestrator.errors import SettingsError
from orchestrator.launch.access import (
    GCS_PORT,
    as_client,
    authenticated,
    connectable,
    found,
    head_client,
    kind_of,
    reach,
    refused,
)
from orchestrator.launch.error_lines import first_line
from orchestrator.settings import Settings

ADDRESS = "RAY_API_SERVER_ADDRESS"
PORT = 8265
T = TypeVar("T")


@contextmanager
def dashboard_client(settings: Settings) -> Iterator[tuple[Any, str]]:
    """Ray's client for jobs, and the URL of the dashboard that it speaks with.

    Raises SettingsError where no cluster is named, where it has no dashboard, or wants another token.
    """
    from ray.job_submission import JobSubmissionClient

    for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with authenticated():
        url = dashboard(settings).rstrip("/")
        with _variable(ADDRESS, url):  # Ray prefers what the environment says to what it is given
            client = asked(url, lambda: JobSubmissionClient(url))
        _check_version(client, url)
        yield client, url


def dashboard(settings: Settings) -> str:
    """The URL of the dashboard, at which somebody listens."""
    given, address = settings.ray_api_server_address, settings.ray_address
    if given:
        return _tried(given if "://" in given else f"http://{given}", f"{ADDRESS} {given!r}")
    kind = kind_of(address)
    if address is None or kind == "local":
        raise SettingsError(
            f"no cluster is named: set RAY_ADDRESS (head:{GCS_PORT} or ray://head:10001), or {ADDRESS} to its "
            f"dashboard, http://head:{PORT}"
        )
    if kind == "dashboard":
        return _tried(address, f"RAY_ADDRESS {address!r}")
    reach(address)
    told = _by_client(address) if kind == "client" else _by_head(found(address))
    if not told:
        raise SettingsError(f"RAY_ADDRESS {address!r}: the cluster has no dashboard, {_WANTED}")
    return _tried(f"http://{told}", f"RAY_ADDRESS {address!r}, whose dashboard is said to be at http://{told}")


_WANTED = (
    "and jobs are sent to it: start the head with the packages of ray[default] and --include-dashboard=true, with "
    f"--dashboard-host=0.0.0.0 for other machines, or forward its port and set {ADDRESS}=http://127.0.0.1:{PORT}"
)


def _tried(url: str, where: str) -> str:
    try:
        connectable(url, 443 if url.startswith("https:") else 80)
    except OSError as error:
        raise SettingsError(f"{where}: no dashboard answers ({error.strerror or error}), {_WANTED}") from error
    return url


def asked(url: str, what: Callable[[], T]) -> T:
    """What it returns; what can go wrong on the way to a dashboard becomes a SettingsError."""
    import requests
    from ray.exceptions import AuthenticationError

    try:
        return what()
    except AuthenticationError as error:
        raise refused(url) from error
    except (ConnectionError, requests.ConnectionError) as error:
        raise SettingsError(f"{url}: no dashboard answers, {_WANTED}") from error
    except (requests.RequestException, ValueError, KeyError) as error:
        raise SettingsError(
            f"{url}: what answers there is no Ray dashboard ({first_line(error)}); mend {ADDRESS} or RAY_ADDRESS"
        ) from error
    except RuntimeError as error:
        told = re.sub(r"Traceback .*\n(?=\S)", "", str(error), flags=re.DOTALL)
        raise SettingsError(f"{url}: {' '.join(told.split())[:500]}") from error


def _by_head(place: str) -> str:
    """host:port of the dashboard, by the head's store of names; empty where there is none."""
    from ray._private.ray_constants import DASHBOARD_ADDRESS, KV_NAMESPACE_DASHBOARD

    known = head_client(place).internal_kv_get(DASHBOARD_ADDRESS.encode(), KV_NAMESPACE_DASHBOARD)
    return known.decode() if known else ""


def _by_client(address: str) -> str:
    import ray

    with as_client(partial(ray.init, address, log_to_driver=False, logging_level=logging.ERROR)) as context:
        return str(context.dashboard_url or "")


def _check_version(client: Any, url: str) -> None:
    """Our code is made for one line of Ray; the one of the job is the cluster's."""
    import ray

    there = str(client._server_ray_version)
    if there.split(".")[:2] != ray.__version__.split(".")[:2]:
        raise SettingsError(
            f"{url}: the cluster runs Ray {there}, and this version of orch is made for Ray {ray.__version__}; "
            "start the cluster from an image with that version"
        )


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
