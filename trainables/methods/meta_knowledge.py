"""S4, meta-knowledge and curriculum distillation (Zhao et al., TAFFC 2025): from the abstract and standard
formulations, no reproduction.

    L = (1 - alpha) CE + lambda_sc SupCon(proj(h)) + alpha KD(tau_s, tau_t)

Methods reference, section 4.4 (derived). What it leaves open:
- `meta` lowers the held-out loss by tau, and `ctkd` raises the distillation by it, so that one temperature is of
  one of them alone; with both, CTKD has the temperature and the meta step alpha and lambda_sc.
- The step that is looked ahead by is that of the whole loss of the batch at hand, by plain descent at the loop's
  current learning rate. The loop's own step differs: AdamW divides by running second moments and decays weights,
  and its gradient is clipped. Adam on what is learned evens out the scale, which falls with the learning rate.
- Dropout is off while looking ahead: both passes are then of the same function, and the real steps draw the same
  masks with a meta step as without. Nothing there runs in bfloat16.
- The held-out loss is the labels' loss of training, with its class weights, smoothing and votes.
- A live teacher is the stored logits plus a linear map of its stored pooled vectors, which starts at 0. For a
  teacher with a linear head (audio, text) that is exactly to fine-tune this head, with its trunk frozen and no
  dropout; for the fusion teacher, whose head has a hidden layer, it is a linear correction of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from trainables import checkpoint
from trainables.batching import Batch
from trainables.losses.contrastive import sup_con
from trainables.losses.distillation import kd, soft_mse
from trainables.meta_learning.ctkd import Spread, Temperature, make_temperature
from trainables.meta_learning.holdout import held_out
from trainables.meta_learning.parameters import Knobs, MetaParameters
from trainables.meta_learning.unrolled import exact, first_order
from trainables.method import Setting, Step, TeachingMethod
from trainables.spec.method import MetaKnowledge
from trainables.spec.schedule import is_used
from trainables.students.base import Student, StudentOutput

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GRADIENTS = {"exact": exact, "first_order": first_order}


class MetaKnowledgeMethod(TeachingMethod):
    def __init__(self, setting: Setting) -> None:
        spec = setting.run.method
        assert isinstance(spec, MetaKnowledge)
        self._spec, self._held = spec, _held_out(setting, spec)
        if self._held is not None:
            # What is held out is in no curriculum, no bank of vectors and no class weight either.
            setting = replace(setting, rows=np.setdiff1d(setting.rows, self._held))
        super().__init__(setting, ("ce", "contrast", "kd"))
        classes, self._distils = len(setting.data.labels), is_used(spec.kd_weight)
        self._projection: nn.Linear | None = None
        if is_used(spec.contrast_weight):
            self._projection = nn.Linear(setting.widths.embedding, spec.projection)
            self.heads["projection"] = self._projection
        self._temperature: Temperature | None = None
        if self._distils and spec.temperature_source.startswith("ctkd"):
            self._temperature = make_temperature(spec.temperature_source, spec.ctkd, classes)
            self.heads["ctkd"] = self._temperature
        self._spread = Spread()
        # Kept with the heads; the loop's optimiser never finds a gradient of them, and so leaves them alone.
        width = setting.teacher_width(setting.best) if spec.corrects_teacher else 0
        self._learned = MetaParameters(spec, classes, width)
        self.heads["meta"] = self._learned
        self._adam = self._learned.optimiser() if spec.looks_ahead else None
        self._steps = 0

    @property
    def held_out(self) -> NDArray[np.int64] | None:
        return self._held

    def before_step(self, step: Step) -> None:
        """The meta step, in the first of every `every` steps."""
        if self._adam is None:
            return
        self._steps += 1
        if (self._steps - 1) % self._spec.meta.every:
            return
        gradients = self.meta_gradient(step)
        for name, parameter in self._learned.named_parameters():
            parameter.grad = gradients[name]
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        self._learned.clamp()

    def meta_gradient(self, step: Step) -> dict[str, Tensor]:
        """Of the held-out loss one step of the student ahead, for each of the method's `MetaParameters`."""
        student, batch, quiz = step.student, step.batch, step.held_out()
        moved = _moved(student, self._spec.meta.parameters)
        rest = {name: p.detach() for name, p in student.named_parameters() if name not in moved}
        theta = {name: p for name, p in student.named_parameters() if name in moved}

        def inner(theta: Mapping[str, Tensor], phi: Mapping[str, Tensor]) -> Tensor:
            grid = self.attention(step.progress)
            output = functional_call(student, {**rest, **theta}, (batch, grid))
            own, _ = self._own(output, batch, step.progress, phi)
            return torch.stack([*self.joined(own, output, batch, step.progress).values()]).sum()

        def outer(theta: Mapping[str, Tensor]) -> Tensor:
            return self.labelled(functional_call(student, {**rest, **theta}, (quiz,)).logits, quiz)

        with _undisturbed(student, self.heads):
            found = _GRADIENTS[self._spec.meta.gradient]
            return found(inner, outer, theta, dict(self._learned.named_parameters()), step.learning_rate)

    def own(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        terms, tau = self._own(output, batch, progress, self._learned.fixed())
        if tau is not None:
            self._spread.add(progress, tau)
        return terms

    def values(self, progress: float) -> dict[str, float]:
        knobs = self._learned.knobs(progress, self._learned.fixed())
        found = super().values(progress)
        if self._distils:
            found |= {"alpha": float(knobs.alpha)}
            found |= {"tau_s": float(knobs.student_tau), "tau_t": float(knobs.teacher_tau)}
        if self._temperature is not None:
            mean, deviation = self._spread.of(progress, self._temperature.first)
            found |= {"tau_s": mean, "tau_t": mean}
            if self._spec.temperature_source == "ctkd_instance":
                found["tau_deviation"] = deviation
        if self._projection is not None:
            found["lambda_sc"] = float(knobs.contrast)
        if self._learned.teacher is not None:
            found["teacher_correction"] = float(self._learned.teacher.weight.detach().norm())
        return found

    def state(self) -> dict[str, Tensor]:
        if self._adam is None:
            return {}
        return {
            "steps": torch.tensor(self._steps),
            **checkpoint.under("adam", checkpoint.optimizer_state(self._adam)),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        if self._adam is None:
            return
        self._steps = int(state["steps"])
        checkpoint.restore_optimizer(self._adam, checkpoint.below("adam", state))

    def _own(
        self, output: StudentOutput, batch: Batch, progress: float, phi: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """The terms at the values `phi` of what is learned, and CTKD's temperatures where they are used."""
        knobs, tau = self._learned.knobs(progress, phi), None
        terms = self.classified(output, batch, 1 - knobs.alpha)
        if self._projection is not None:
            u = self._projection(output.embedding)
            contrast = sup_con(u, batch.labels, self._spec.contrast_temperature, weights=batch.weights)
            terms["contrast"] = knobs.contrast * contrast
        if self._distils:
            taught = batch.teachers[self.setting.best]
            teacher = self._learned.corrected(taught.logits, taught.pooled, phi)
            if self._temperature is not None:
                tau = self._temperature(output.logits, teacher, progress)
                knobs = replace(knobs, student_tau=tau, teacher_tau=tau)
            terms["kd"] = knobs.alpha * self._softened(output.logits, teacher, knobs, batch)
        return terms, tau

    def _softened(self, student: Tensor, teacher: Tensor, knobs: Knobs, batch: Batch) -> Tensor:
        if self._spec.soft_loss == "mse":
            return soft_mse(student, teacher, knobs.student_tau, batch.weights)
        tau = (knobs.student_tau, batch.weights, knobs.teacher_tau)
        return kd(student, teacher, *tau, through_teacher=True)


def _held_out(setting: Setting, spec: MetaKnowledge) -> NDArray[np.int64] | None:
    """Rows of the transfer set; None where nothing is learned by them."""
    if not spec.looks_ahead:
        return None
    data, rows = setting.data, setting.rows
    places = held_out(data.dialogue[rows].tolist(), data.label[rows].tolist(), spec.meta.held_out)
    chosen: NDArray[np.int64] = rows[places]
    return chosen


def _moved(student: Student, which: str) -> set[str]:
    """Names of the parameters that the step ahead moves: all trained ones, or the classifier's and last blocks'."""
    trained = {name for name, p in student.named_parameters() if p.requires_grad}
    if which == "all":
        return trained
    last = ["classifier."]
    for name, module in student.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] == "blocks" and len(module):
            last.append(f"{name}.{len(module) - 1}.")
    # A student that calls none of its parts so is moved as a whole.
    return {name for name in trained if name.startswith(tuple(last))} or trained


@contextmanager
def _undisturbed(student: Student, heads: nn.Module) -> Iterator[None]:
    """Without dropout, and leaving no trace: modes, the buffers of terms and torch's random state as they were."""
    mode, kept = student.training, {name: buffer.clone() for name, buffer in heads.named_buffers()}
    student.eval()
    for module in student.modules():
        if isinstance(module, nn.RNNBase):
            module.train()  # cuDNN differentiates it in this mode alone
    with torch.random.fork_rng(devices=[]):
        yield
    student.train(mode)
    for name, buffer in heads.named_buffers():
        buffer.copy_(kept[name])
