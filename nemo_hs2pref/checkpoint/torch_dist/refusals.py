"""Why a checkpoint could not be written: what the operating system said, beneath torch's and megatron-core's errors."""

from nemo_hs2pref.errors import CheckpointError, HS2PrefError, MachineError, kind_of


def refusal_in(error: BaseException | None) -> OSError | None:
    """What the operating system refused, where `error` follows from it: upstream hides it behind errors of its own."""
    while error is not None:
        if isinstance(error, OSError) and not isinstance(error, ConnectionError):  # that is another rank's end
            return error
        error = error.__cause__ or error.__context__
    return None


def reason_not_written(error: BaseException) -> str | None:
    """Why a checkpoint could not be written, or None where `error` is of another kind."""
    refusal = refusal_in(error)
    if refusal is not None:
        return refusal.strerror or str(refusal)
    # torch.save on a path writes in C++, which does not tell the reason
    return "torch.save could not write all bytes" if "inline_container" in str(error) else None


def kind_not_written(error: BaseException) -> type[HS2PrefError]:
    """What an error with such a reason is: the user's, or the machine's. Without the reason it may be either."""
    refusal = refusal_in(error)
    return MachineError if refusal is None else kind_of(refusal, CheckpointError)
