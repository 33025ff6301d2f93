"""What a trained student is worth: predictions, uncertainty by dropout, size, latency; and how it leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from trainables.absence import only
from trainables.batching import Batcher, sorted_batches
from trainables.determinism import reproducible
from trainables.encoders import Dropout
from trainables.errors import ArtifactError
from trainables.metrics import probabilities_of
from trainables.spec.base import Modality
from trainables.spec.run import RunSpec
from trainables.spec.student import StudentSpec
from trainables.students import Sizes, Student, make_student
from trainables.transfer_set import TransferSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WEIGHTS, _SPEC = "student.safetensors", "student.json"
_WARM_UP = 10


@dataclass(frozen=True)
class Predictions:
    """One row an utterance, ascending by `index`."""

    index: NDArray[np.int64]
    """[N], rows of the transfer set."""
    labels: NDArray[Any]
    """[N] int64, or [N, C] of 0 and 1 where an utterance may have several."""
    logits: NDArray[np.float32]
    """[N, C]"""
    members: NDArray[np.float32] | None = None
    """[N, M, C], where the student is a late fusion."""

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """[N, C], each row summing to 1 unless there may be several labels."""
        return probabilities_of(self.logits, self.labels.ndim == 2)


@dataclass(frozen=True)
class Latency:
    """Wall time of one utterance in milliseconds."""

    p50_ms: float
    p95_ms: float


def predict(
    student: Student,
    data: TransferSet,
    split: str,
    batch_size: int = 64,
    device: str = "cpu",
    *,
    kept: Sequence[Modality] | None = None,
) -> Predictions:
    """The student's logits on every row of a split; `kept`: with no other of its modalities than these."""
    batcher = Batcher(data, student.spec, device=device)
    return predict_rows(student, batcher, data, data.rows(split, student.modalities), batch_size, kept=kept)


def predict_rows(
    student: Student,
    batcher: Batcher,
    data: TransferSet,
    rows: NDArray[np.int64],
    batch_size: int = 64,
    *,
    kept: Sequence[Modality] | None = None,
) -> Predictions:
    """The same for rows and a batcher at hand. Leaves the student in evaluation mode."""
    student.eval()
    logits, members = _outputs(student, batcher, rows, batch_size, kept)
    return Predictions(rows, np.asarray(data.truth[rows]), logits, members)


def mc_predict(
    student: Student, data: TransferSet, split: str, passes: int, seed: int, *, device: str = "cpu"
) -> NDArray[np.float32]:
    """Probabilities of `passes` passes with dropout on (the student has no other random part): [M, N, C]."""
    batcher = Batcher(data, student.spec, device=device)
    rows = data.rows(split, student.modalities)
    student.eval()
    for module in student.modules():
        if isinstance(module, Dropout):
            module.train()
    with reproducible(device=device):
        torch.manual_seed(seed)
        drawn = [_outputs(student, batcher, rows, 64)[0] for _ in range(passes)]
    student.eval()
    return probabilities_of(np.stack(drawn), data.multi_label).astype(np.float32)


def predict_dev(
    student: Student,
    batcher: Batcher,
    data: TransferSet,
    rows: NDArray[np.int64],
    batch_size: int = 64,
    *,
    kept: Sequence[Modality] | None = None,
) -> Predictions:
    """On dev, where a late fusion is fitted: each half's logits are then those of the fit on the other half."""
    found = predict_rows(student, batcher, data, rows, batch_size, kept=kept)
    if found.members is None:
        return found
    logits = student.fit_fusion(torch.from_numpy(found.members), torch.from_numpy(found.labels))
    return replace(found, logits=logits.float().numpy())


@torch.no_grad()
def _outputs(
    student: Student,
    batcher: Batcher,
    rows: NDArray[np.int64],
    batch_size: int,
    kept: Sequence[Modality] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Logits [N, C] and members [N, M, C], if any, in the order of `rows`."""
    every = student.modalities
    read = every if kept is None else kept
    batches = sorted_batches(rows, batcher.lengths, batch_size)
    outputs = [student(only(batcher.batch(index), every, read, batcher.pad_id)) for index in batches]
    order = np.argsort(np.concatenate(batches))
    logits = torch.cat([one.logits for one in outputs]).float().cpu().numpy()[order]
    if outputs[0].members is None:
        return logits, None
    return logits, torch.cat([one.members for one in outputs]).float().cpu().numpy()[order]


def count_parameters(student: torch.nn.Module) -> int:
    """Of the student as it is exported: a method's heads are not in it."""
    return sum(p.numel() for p in student.parameters())


def latency(student: Student, data: TransferSet, runs: int = 50) -> Latency:
    """From features to logits at batch 1 on one CPU thread, over `runs` dev utterances spread over the split.

    Leaves the student on the CPU.
    """
    batcher = Batcher(data, student.spec)
    rows = data.rows("dev", student.modalities)
    chosen = rows[np.linspace(0, len(rows) - 1, runs).round().astype(np.int64)]
    batches = [batcher.batch(chosen[i : i + 1]) for i in range(runs)]
    student = student.cpu().eval()
    with reproducible(threads=1), torch.inference_mode():
        for batch in batches[:_WARM_UP]:
            student(batch)
        milliseconds = []
        for batch in batches:
            start = time.perf_counter()
            student(batch)
            milliseconds.append(1e3 * (time.perf_counter() - start))
    return Latency(*(float(q) for q in np.percentile(milliseconds, [50, 95])))


def export(student: Student, run: RunSpec, data: TransferSet, folder: Path) -> None:
    """Weights and all that is needed to build the student again: `load_exported` asks for no experiment."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in student.state_dict().items()}
    save_file(state, str(folder / _WEIGHTS))
    facts = {
        "student": run.student.model_dump(mode="json"),
        "features": run.features.model_dump(mode="json"),
        "sizes": asdict(Sizes.of(data)),
        "labels": list(data.labels),
        "multi_label": data.multi_label,
        "pad_id": data.pad_id,
        "transfer_set": data.fingerprint,
        "stand_in": data.stand_in,
        "parameters": count_parameters(student),
        "run": run.model_dump(mode="json"),
    }
    (folder / _SPEC).write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")


def load_exported(folder: Path) -> tuple[Student, dict[str, Any]]:
    """The student in evaluation mode, and what `export` wrote beside it."""
    if not (folder / _SPEC).exists():
        raise ArtifactError(f"{folder}: no {_SPEC}, so there is no exported student")
    facts: dict[str, Any] = json.loads((folder / _SPEC).read_text(encoding="utf-8"))
    spec: StudentSpec = TypeAdapter(StudentSpec).validate_python(facts["student"])
    student = make_student(spec, Sizes.read(facts["sizes"]))
    student.load_state_dict(load_file(str(folder / _WEIGHTS)))
    return student.eval(), facts
