"""Ray Train's trainer as a group needs it, and how to give back what it had reserved.

Everything that a run reserves is made by its controller: first the placement group of the workers, another one at
each attempt and each time an elastic group is resized. They outlive a controller that is killed, one that still
waited for room as well, until the driver ends. So the controller says who it is before it reserves anything, and
whoever ends the group gives back what was made in its name. Ray's own cleaner is left out: a detached process a run
that asks the dashboard whether the controller lives, and cleans nothing, for ever, where that has no answer.
"""

from __future__ import annotations

import uuid
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.callback import ControllerCallback

from orchestrator.launch.growth import on_cluster
from orchestrator.launch.listening_torch import ListeningTorch
from orchestrator.launch.shapes import bundle
from orchestrator.resources import TeacherResources, TrialResources

COLLECTIVE_SECONDS = 600
ROOM_ATTEMPTS = 10
"""How often a controller waits for room, RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S each time: lost nodes come back,
new ones take their minutes."""
ELASTIC_SECONDS = 60.0
"""How often an elastic group looks whether there is room for more; it goes on from the last epoch then."""

GroupResources = TeacherResources | TrialResources


def workers_of(need: GroupResources) -> int | tuple[int, int]:
    """As `ray.train.ScalingConfig` wants it: fixed, or the fewest and the most."""
    fewest = need.fewest if isinstance(need, TeacherResources) else need.workers
    return need.workers if fewest == need.workers else (fewest, need.workers)


def trainer(work: Any, config: dict[str, Any], need: GroupResources, storage: dict[str, Any]) -> TorchTrainer:
    """A trainer that runs `work` on the workers; `config` holds the queue for what they and the controller tell.

    Ray Train itself tries nothing twice but to find room.
    """
    return _Trainer(
        work,
        train_loop_config=config,
        torch_config=ListeningTorch(timeout_s=COLLECTIVE_SECONDS),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers_of(need),
            use_gpu=need.gpus > 0,
            resources_per_worker=bundle(need),
            elastic_resize_monitor_interval_s=ELASTIC_SECONDS,
        ),
        run_config=ray.train.RunConfig(
            name=f"group-{uuid.uuid4().hex[:8]}",
            callbacks=[_Tells(config["queue"])],
            failure_config=ray.train.FailureConfig(
                max_failures=0, controller_failure_limit=ROOM_ATTEMPTS - 1, max_preemption_failures=0
            ),
            **storage,
        ),
    )


def end_controller(controller: Any) -> None:
    """End a controller, which ends its workers; one that is gone is no error."""
    ray.kill(controller)


def release(group: str) -> None:
    """Give back whatever the controller of this id has reserved; nothing is no error."""
    on_cluster(_release, group)


def reserved_by(group: str) -> list[str]:
    """The placement groups, by id, that the controller of this id has made and nobody has given back."""
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData

    tables = map(PlacementGroupTableData.FromString, state._connect_and_get_accessor().get_placement_group_table())
    removed = PlacementGroupTableData.REMOVED
    return [
        table.placement_group_id.hex()
        for table in tables
        if table.creator_actor_id.hex() == group and table.state != removed
    ]


def _release(group: str) -> None:
    from ray import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    for found in reserved_by(group):
        remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(found)))


class _Trainer(TorchTrainer):  # type: ignore[misc]
    def _create_default_callbacks(self) -> list[Any]:
        found = super()._create_default_callbacks()
        return [one for one in found if not isinstance(one, PlacementGroupCleanerCallback)]


class _Tells(ControllerCallback):  # type: ignore[misc]
    """In the controller, before it reserves anything: who it is."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def after_controller_start(self, train_run_context: Any) -> None:
        context = ray.get_runtime_context()
        self._queue.put({"group": context.get_actor_id(), "controller": context.current_actor})
