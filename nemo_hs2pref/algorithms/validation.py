"""Metrics of held-out rows."""

from collections.abc import Mapping, Sequence
from functools import partial

from nemo_hs2pref.algorithms.agreement import Flags, Metrics, agree
from nemo_hs2pref.data.batches.tokens import MakeBatch
from nemo_hs2pref.metrics.sums import Sums
from nemo_hs2pref.models.megatron.collectives import sum_globally
from nemo_hs2pref.models.trainable import TrainedModel
from nemo_hs2pref.objectives.interface import Objective, metrics_of, no_sums, sums_of

ValidationSets = Mapping[str, Sequence[MakeBatch]]  # name -> its global batches


def validate(
    model: TrainedModel, objective: Objective, sets: ValidationSets, flags: Flags
) -> tuple[Metrics, Sequence[str]]:
    """Metrics of every validation set, the last partial batch included, as val_<set>_<metric>.

    One small collective per global batch, in which ranks agree on a stop, and one at the end for the sums. A stop
    leaves no metrics; its reasons are returned.
    """
    if not sets:
        return {}, ()
    model.prepare_for_validation_step()
    sums, stop = sums_of_sets(model, objective, sets, flags)
    model.finish_validation_step()
    if stop:
        return {}, stop
    totals = sum_globally(sums, model.device)
    metrics: Metrics = {}
    for name in sets:
        of_set = {key.removeprefix(f"{name}/"): value for key, value in totals.items() if key.startswith(f"{name}/")}
        metrics |= {f"val_{name}_{key}": value for key, value in metrics_of(objective, of_set).items()}
    return metrics, ()


def sums_of_sets(
    model: TrainedModel, objective: Objective, sets: ValidationSets, flags: Flags
) -> tuple[Sums, Sequence[str]]:
    """This rank's sums over all batches, as <set>/<name>; or none, and the reasons to stop."""
    totals: Sums = {}
    for name, batches in sets.items():
        for make_batch in batches:
            sums = model.sums(make_batch(), partial(sums_of, objective), no_sums(objective))
            for key, value in sums.items():
                totals[f"{name}/{key}"] = value + totals.get(f"{name}/{key}", 0.0)
            _, stop = agree(model.device, {}, flags)
            if stop:
                return {}, stop
    return totals, ()
