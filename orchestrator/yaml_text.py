"""YAML as people mean it: `5e-4` is a number, and a key that is there twice is a mistake."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

MOST_VALUES, DEEPEST = 100_000, 100
"""In a text; aliases count as what they stand for."""
_FLOAT = "tag:yaml.org,2002:float"


# libyaml reads ten times as fast, where PyYAML was built with it.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if isinstance(name, Hashable) and name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} is there twice", key.start_mark)
            seen.add(name if isinstance(name, Hashable) else repr(name))
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


# YAML 1.1, which PyYAML reads, wants a dot and a signed exponent; people and YAML 1.2 do not.
_Loader.add_implicit_resolver(_FLOAT, re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789"))


def parse(text: str) -> Any:
    """The value of a YAML text; raises yaml.YAMLError."""
    _check_size(text)
    return yaml.load(text, _Loader)


def _check_size(text: str) -> None:
    """A few lines of aliases can stand for more values than memory holds, and deep nesting ends the process."""
    sizes: dict[str, int] = {}
    parts: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, _Safe):
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise yaml.MarkedYAMLError(
                    problem=f"*{event.anchor} stands for no value before it", problem_mark=mark
                )
            total += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            parts.append((event.anchor, total))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = parts.pop()
            total += 1
            sizes |= {anchor: total - before} if anchor else {}
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            sizes |= {event.anchor: 1} if event.anchor else {}
        if total > MOST_VALUES or len(parts) > DEEPEST:
            told = f"more than {MOST_VALUES} values, or {DEEPEST} in one another"
            raise yaml.MarkedYAMLError(problem=told, problem_mark=mark)
