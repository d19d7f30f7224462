"""What a user can cause.

    HS2PrefError
    ├── ConfigError        a key or value of the configuration
    ├── DataError          a row or file of the data
    ├── CheckpointError    a checkpoint that is missing, broken or of another shape
    ├── TrainingError      a run that cannot go on
    │   └── OtherRankError   another rank failed, and says why
    └── InstallationError  a machine or installation that lacks something

The message is one sentence: where (file, line or key), what was found, what was expected, what to do.
"""

# Exit code of a run that was asked to stop, has saved, and goes on when it is started again. No shell, signal or
# launcher of the stack gives it another meaning.
STOPPED = 85


class HS2PrefError(Exception):
    """Base of all errors that a user can cause; the command line prints the message and exits with 2."""


class ConfigError(HS2PrefError):
    """A configuration key or value cannot be used."""


class DataError(HS2PrefError):
    """A file or row of the data cannot be used."""


class CheckpointError(HS2PrefError):
    """A checkpoint is missing, incomplete or of another shape."""


class TrainingError(HS2PrefError):
    """A run cannot go on: the loss is not finite, or another rank failed."""


class OtherRankError(TrainingError):
    """Another rank failed; its message is the one to read."""


class InstallationError(HS2PrefError):
    """The machine or installation lacks something that the command needs."""
