"""What each role may use of a cluster, and what a cluster may become: circumstance, never identity."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from trainables.spec import Spec

SMALLEST = 0.0001
"""Ray counts in ten thousandths of a CPU or GPU."""

Gpus = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Accelerator = Annotated[str, Field(min_length=1, max_length=60)]


def _near(gpus: float) -> str:
    return f"{int(gpus)} or {int(gpus) + 1}"


def _whole_gpus(gpus: float, workers: int) -> None:
    if workers > 1 and 0 < gpus < 1:
        raise ValueError(
            f"gpus {gpus:g} for each of {workers} workers: two of them may get the same GPU, and then cannot "
            "exchange their gradients; give 1, or 0, or let one worker do it"
        )


class WorkerResources(Spec):
    """What one process reserves, whole on one node."""

    cpus: Annotated[float, Field(ge=SMALLEST)] = 1
    gpus: Gpus = 0
    """Below one: a share of one GPU; above: whole ones."""
    accelerator: Accelerator | None = None
    """Ray's name of the kind of GPU, e.g. A100 or T4; any where none is given."""

    @property
    def threads(self) -> int:
        """Of torch, in such a process."""
        return max(1, int(self.cpus))

    @property
    def device(self) -> str:
        """Torch's name of what such a process works on."""
        return "cuda" if self.gpus else "cpu"

    @model_validator(mode="after")
    def _whole(self) -> WorkerResources:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(
                f"gpus {self.gpus:g}: a process gets a share of one GPU, or whole ones; give {_near(self.gpus)}"
            )
        if self.accelerator and not self.gpus:
            raise ValueError(
                f"accelerator {self.accelerator!r}: it is a kind of GPU, and gpus is 0; give gpus, or leave it away"
            )
        return self


class TeacherResources(WorkerResources):
    """The group of workers that fine-tunes the teachers."""

    workers: Count = 1
    minimum: Count | None = None
    """Where there is room for fewer than `workers`, as few as these begin, and more join as nodes come."""

    @property
    def fewest(self) -> int:
        """The workers without which nothing begins."""
        return self.minimum or self.workers

    @model_validator(mode="after")
    def _group(self) -> TeacherResources:
        if self.fewest > self.workers:
            raise ValueError(
                f"minimum {self.minimum}: more than the {self.workers} workers that there are to be at most"
            )
        _whole_gpus(self.gpus, self.workers)
        return self


class TrialResources(WorkerResources):
    """A trial: one process, or a group of always as many workers."""

    workers: Count = 1
    silent_minutes: Annotated[float, Field(ge=0)] = 30
    """A trial that tells nothing for so long is ended, and goes on from its checkpoint; 0 for never. Longer than an
    epoch takes, and than the first one with the data's way to the node."""

    @model_validator(mode="after")
    def _group(self) -> TrialResources:
        _whole_gpus(self.gpus, self.workers)
        return self


class PoolResources(WorkerResources):
    """Processes that each work alone, side by side."""

    minimum: Count = 1
    """As few as these begin."""
    workers: Count | None = None
    """The most side by side; by default as many as there is room for."""

    @model_validator(mode="after")
    def _order(self) -> PoolResources:
        if self.workers and self.minimum > self.workers:
            raise ValueError(
                f"minimum {self.minimum}: more than the {self.workers} workers that there are to be at most"
            )
        return self


class Resources(Spec):
    """What each part may use: circumstance, never identity."""

    teacher: TeacherResources = TeacherResources()
    harvest: PoolResources = PoolResources()
    trial: TrialResources = TrialResources()
    confirm: PoolResources = PoolResources()
    microbatch: Count = 32
    """Largest number of utterances that a teacher sees at once; more are accumulated."""


class NodeGroup(Spec):
    """Nodes of one shape that a cluster which scales by itself may start."""

    cpus: Annotated[float, Field(ge=0)]
    gpus: Annotated[int, Field(ge=0)] = 0
    accelerator: Accelerator | None = None
    """Ray's name of the kind of its GPUs."""
    drivers: Annotated[int, Field(ge=0)] = 0
    """What each node offers of the resource `orch_driver`."""
    maximum: Count
    """The most nodes of the group at once, those that are there among them."""
