"""Everything that schemas cannot say of a manifest: each rule a function of all its documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from orchestrator.infra.documents import Document
from orchestrator.infra.finding import Finding
from orchestrator.infra.rules import clusters, jobs, ours, pods, secrecy

Rule = Callable[[Sequence[Document]], Iterator[Finding]]

OPERATOR: tuple[Rule, ...] = (*clusters.RULES, *jobs.RULES)
"""What the operator would refuse, but only once it is applied."""
INVARIANTS: tuple[Rule, ...] = (*pods.RULES, *secrecy.RULES, *ours.RULES)


def broken(found: Sequence[Document], rules: Sequence[Rule] = (*OPERATOR, *INVARIANTS)) -> Iterator[Finding]:
    for rule in rules:
        yield from rule(found)
