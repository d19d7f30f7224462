"""What a user can cause and mend, and what a machine does to a run.

    HS2PrefError
    ├── ConfigError        a key or value of the configuration
    ├── DataError          a row or file of the data
    ├── CheckpointError    a checkpoint that is missing, broken or of another shape
    ├── TrainingError      a run that cannot go on
    │   └── OtherRankError   another rank failed, and says why
    ├── InstallationError  a machine or installation that lacks something
    └── MachineError       a machine that fails, as a disk that does not answer

The message is one sentence: where (file, line or key), what was found, what was expected, what to do.
"""

import errno
from typing import ClassVar

# Exit code of a run that was asked to stop, has saved, and goes on when it is started again. No shell, signal or
# launcher of the stack gives it another meaning.
STOPPED = 85


# What a user can mend of that which the system refuses to do with a file: room, rights, names.
MENDABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP),
}


class HS2PrefError(Exception):
    """Base of all errors that are told in one sentence, without a traceback."""

    exit_code: ClassVar[int] = 2  # another start ends in the same way; a job is not requeued


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


class MachineError(HS2PrefError):
    """A machine fails under the command, and another start, perhaps elsewhere, may work."""

    exit_code = 1  # as of an unexpected error; a job is requeued, and counts it


def kind_of(refusal: OSError, mendable: type[HS2PrefError]) -> type[HS2PrefError]:
    """`mendable` where the user can mend it; input or output errors, stale handles, dead servers are the machine's."""
    return mendable if refusal.errno in MENDABLE else MachineError
