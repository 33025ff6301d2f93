"""The meta gradient against central differences of the whole thing that is unrolled, on a real student."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.meta import Case
from tests.helpers.transfer_sets import synthetic
from trainables.meta_learning.unrolled import exact, first_order
from trainables.transfer_set import TransferSet

STEP = 1e-4
RATE = 0.5
EVERYTHING: dict[str, Any] = {"temperature_source": "meta", "kd_weight": 0.4, "temperature": 3.0}
CASES: list[dict[str, Any]] = [
    {**EVERYTHING, "meta": {"parameters": "all"}},
    {**EVERYTHING, "meta": {"parameters": "head_and_last"}},
    {**EVERYTHING, "meta": {"parameters": "all"}, "terms": {"rkd": {"enabled": True, "weight": 0.1}}},
    {**EVERYTHING, "meta": {"parameters": "all"}, "weighting": "homoscedastic"},
    {"temperature_source": "ctkd_instance", "meta": {"parameters": "all"}},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    folder: Path = tmp_path_factory.mktemp("data")
    return synthetic(folder, modalities=("audio",))


def unrolled(case: Case, moved: tuple[str, ...]) -> float:
    """The held-out loss after a real step of plain descent on a copy, at the method's present values."""
    ahead = copy.deepcopy(case.student).eval()
    output = ahead(case.batch)
    terms = case.method.loss(output, case.batch, 0.5)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, parameter in ahead.named_parameters():
            if parameter.grad is not None and name.startswith(moved):
                parameter.sub_(RATE * parameter.grad)
        return float(case.method.labelled(ahead(case.quiz).logits, case.quiz))


def central(case: Case, parameter: Tensor, moved: tuple[str, ...], direction: Tensor) -> float:
    """The derivative along `direction`."""
    found = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter += sign * STEP * direction
        found.append(unrolled(case, moved))
        with torch.no_grad():
            parameter -= sign * STEP * direction
    return (found[0] - found[1]) / (2 * STEP)


def moved_by(case: Case) -> tuple[str, ...]:
    return ("classifier.", "blocks.1.") if case.method._spec.meta.parameters == "head_and_last" else ("",)


@pytest.mark.parametrize("method", CASES, ids=range(len(CASES)))
def test_exact_is_the_derivative_of_what_is_unrolled(data: TransferSet, method: dict[str, Any]) -> None:
    case = Case(data, torch.float64, **method)
    found = case.method.meta_gradient(case.step(RATE))
    parameters = dict(case.method.heads["meta"].named_parameters())
    assert set(found) == set(parameters) and "logit_alpha" in found and "log_contrast" in found
    assert ("log_tau_s" in found and "log_tau_t" in found) == (method["temperature_source"] == "meta")
    for name, parameter in parameters.items():
        expected = central(case, parameter, moved_by(case), torch.ones_like(parameter))
        assert abs(expected) > 1e-6
        assert found[name].item() == pytest.approx(expected, rel=1e-5), name


@pytest.mark.parametrize("soft_loss", ["kl", "mse"])
def test_exact_for_a_live_teacher_along_some_directions(data: TransferSet, soft_loss: str) -> None:
    method = {"teacher": "live", "soft_loss": soft_loss, "temperature_source": "schedule"}
    case = Case(data, torch.float64, **method, meta={"parameters": "all"})
    found = case.method.meta_gradient(case.step(RATE))
    torch.manual_seed(1)
    for name in ("teacher.weight", "teacher.bias"):
        parameter = case.method.heads["meta"].get_parameter(name)
        direction = torch.randn_like(parameter)
        expected = central(case, parameter, ("",), direction)
        assert abs(expected) > 1e-7
        assert (found[name] * direction).sum().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rate", [1e-3, 0.1])
@pytest.mark.parametrize("which", ["all", "head_and_last"])
def test_first_order_comes_close(data: TransferSet, rate: float, which: str) -> None:
    both = []
    for gradient in ("exact", "first_order"):
        meta = {"gradient": gradient, "parameters": which}
        case = Case(data, **EVERYTHING, teacher="live", meta=meta)
        found = case.method.meta_gradient(case.step(rate))
        assert len(found) == 6
        both.append(torch.cat([found[name].flatten() for name in sorted(found)]))
    assert torch.cosine_similarity(both[0], both[1], dim=0) > 0.99
    assert both[1].norm().item() == pytest.approx(both[0].norm().item(), rel=0.1)


def test_by_hand() -> None:
    # inner = phi theta^2 / 2, so theta' = theta (1 - rate phi); outer = theta'^2. With theta = 2, phi = 3 and
    # rate = 0.1: theta' = 1.4 and d outer / d phi = 2 theta' (-rate theta) = 2 * 1.4 * (-0.2) = -0.56.
    theta, phi = ({name: torch.tensor(v, dtype=torch.float64)} for name, v in (("theta", 2.0), ("phi", 3.0)))
    for gradient in (exact, first_order):
        found = gradient(lambda t, p: p["phi"] * t["theta"] ** 2 / 2, lambda t: t["theta"] ** 2, theta, phi, 0.1)
        assert found["phi"].item() == pytest.approx(-0.56, rel=1e-9)
        assert theta["theta"].grad is None and not theta["theta"].requires_grad


def test_what_the_train_loss_does_not_use_gets_zero() -> None:
    theta, phi = {"theta": torch.ones(())}, {"idle": torch.ones(3)}
    for gradient in (exact, first_order):
        found = gradient(lambda t, p: t["theta"] ** 2, lambda t: t["theta"] ** 2, theta, phi, 0.1)
        assert found["idle"].tolist() == [0.0, 0.0, 0.0]
