"""Python and the packages, against what the project needs and against the versions that it was tested with."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from orchestrator.doctor.finding import Finding
from orchestrator.settings import Settings

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
"""Beside the packages in a checkout; a wheel has only its requirements."""
SHOWN = 6
_INSTALL = "pip install --constraint constraints.txt --editable '.[standin,s3,dev]'  (or: make setup)"


def interpreter(settings: Settings) -> list[Finding]:
    from packaging.specifiers import SpecifierSet

    told = f"Python {platform.python_version()} at {sys.executable}"
    needed = metadata("orch")["Requires-Python"]
    if not SpecifierSet(needed).contains(platform.python_version(), prereleases=True):
        return [Finding("python", "fail", f"{told}; needed is {needed}", "make setup PYTHON=python3.11")]
    return [Finding("python", "ok", told)]


def requirements(settings: Settings) -> list[Finding]:
    broken = unmet(requires("orch") or [])
    if broken:
        return [Finding("packages", "fail", listed(broken), _INSTALL)]
    pins = read_pins(CONSTRAINTS) if CONSTRAINTS.is_file() else {}
    if not pins:
        return [Finding("packages", "ok", "all requirements are met (no constraints.txt here to compare with)")]
    other = unlike(pins)
    if other:
        return [Finding("packages", "warn", f"{listed(other)}; of {len(pins)} pinned", _INSTALL)]
    return [Finding("packages", "ok", f"all requirements are met, all {len(pins)} pins kept")]


def unmet(wanted: list[str]) -> list[str]:
    """What is absent or of a version that the project cannot use; extras are left out."""
    from packaging.requirements import Requirement

    found = []
    for text in wanted:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        here = installed(requirement.name)
        if here is None:
            found.append(f"{requirement.name} is not installed")
        elif not requirement.specifier.contains(here, prereleases=True):
            found.append(f"{requirement.name} is {here}, needed is {requirement.specifier}")
    return found


def read_pins(path: Path) -> dict[str, str]:
    """name -> version of every `name==version` line."""
    lines = (line.split("#", 1)[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("==", 1) for line in lines if "==" in line)
    return {name.strip(): wanted.strip() for name, wanted in pairs}


def unlike(pins: dict[str, str]) -> list[str]:
    """Packages of another version than pinned. Absent ones are no fault: they may belong to an extra."""
    found = []
    for name, wanted in pins.items():
        here = installed(name)
        if here is not None and here.split("+", 1)[0] != wanted.split("+", 1)[0]:
            found.append(f"{name} is {here}, pinned is {wanted}")
    return found


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def listed(faults: list[str]) -> str:
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return "; ".join(faults[:SHOWN]) + more
