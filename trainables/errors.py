"""The base of every error that is meant for the user: one sentence with the value and the way out."""


class OrchError(Exception):
    """Shown without a traceback. `exit_code` is 2 for a mistake of the user's, 1 for a failure of ours."""

    exit_code = 1


class UserError(OrchError):
    """Something that the user gave is wrong, and the message says how to mend it."""

    exit_code = 2


class SpecError(UserError):
    """A field, a value or a combination of an experiment is wrong."""


class CorpusError(UserError):
    """A corpus on disk is not what its importer reads: names the file, row or key."""


class CheckpointError(UserError):
    """A pretrained checkpoint is not to be had, or is not of a kind that can be used."""


class ArtifactError(OrchError):
    """A stored artifact is absent, incomplete or not what its record says."""


class DivergedError(OrchError):
    """Training produced a loss or a score that is not finite."""


class MachineError(OrchError):
    """The machine or the store failed, not what ran on it: a full disk, a store that is away.

    What failed so is no result: elsewhere or later it may succeed, so it is tried again.
    """


class PreemptedError(MachineError):
    """The machine is being taken away; what the run has reached is saved, and it goes on elsewhere."""
