"""Close what a killed driver left RUNNING, and nothing else.

A run is ours if it carries `orch.sweep`. It is closed if it belongs to the sweep that this process holds (on
whichever host its lost driver was), or if its owner (in the tag `orch.owner`) is certain to be gone. Runs of
others, of drivers that live, and of other sweeps' drivers on other hosts are never touched.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from orchestrator.owner import Owner
from orchestrator.tracking.client import connect
from orchestrator.tracking.info import KIND, OWNER, RUN_NAME, STATE, STOP_REASON, SWEEP
from orchestrator.tracking.runs import search

LOST = "driver lost"


def reconcile(
    uri: str, sweep: str | None = None, alive: Collection[str] = (), *, reopens: bool = False
) -> list[str]:
    """Close stale runs as KILLED; returns their names as `sweep/run`.

    sweep: the sweep that this process holds, whose runs are closed whoever owns them; None for only those of dead
        owners, of whichever sweep.
    alive: names of runs of `sweep` that go on, such as `trial-0007`.
    reopens: the parent of `sweep` is about to be written again, so it stays open.
    """
    return close_stale(connect(uri), sweep, alive, reopens=reopens)


def close_stale(client: Any, sweep: str | None, alive: Collection[str] = (), *, reopens: bool = False) -> list[str]:
    """The same on a client."""
    from mlflow.entities import RunTag

    experiments = [e.experiment_id for e in client.search_experiments(max_results=1000)]
    query = f"attributes.status = 'RUNNING' AND tags.`{SWEEP}` LIKE '%'"
    closed: list[str] = []
    now = int(time.time() * 1000)
    for run in list(search(client, experiments, query)) if experiments else []:
        tags = run.data.tags
        name = tags.get(RUN_NAME, run.info.run_id)
        if not _stale(tags, name, sweep, alive, reopens):
            continue
        client.log_batch(run.info.run_id, tags=[RunTag(STOP_REASON, LOST), RunTag(STATE, "interrupted")])
        client.set_terminated(run.info.run_id, status="KILLED", end_time=now)
        closed.append(f"{tags[SWEEP]}/{name}")
    return closed


def _stale(tags: dict[str, str], name: str, sweep: str | None, alive: Collection[str], reopens: bool) -> bool:
    if sweep is not None and tags[SWEEP] == sweep:
        return not reopens if tags.get(KIND) == "sweep" else name not in alive
    owner = Owner.parse(tags.get(OWNER))
    return owner is not None and owner.gone()
