"""The orchestrator's own errors, one class per cause, on the base that the CLI prints without a traceback."""

from __future__ import annotations

from trainables.errors import OrchError, UserError


class ExperimentError(UserError):
    """An experiment does not exist, cannot be read, or says something that cannot be run."""


class SettingsError(UserError):
    """A setting names something that is not there or has no sense."""


class ManifestError(UserError):
    """An overlay cannot be rendered, or says something that Kubernetes, its operator or we refuse."""


class KubernetesError(OrchError):
    """kubectl is not there, or the cluster does not do what it is asked."""


class JournalError(OrchError):
    """The stored trials of a sweep cannot be read."""


class StageError(OrchError):
    """A stage ended without its output."""


class Interrupted(OrchError):  # noqa: N818 - not an error of anybody's
    """Ctrl-C or a termination signal ended the work; everything done so far is kept."""

    exit_code = 130


class SweepHeldError(UserError):
    """Another driver, which is alive, drives the sweep."""


class LeaseLostError(OrchError):
    """Another driver has followed this one, which it took for lost."""
