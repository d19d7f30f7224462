"""What becomes of a team's annotated tasks, by the papers' rules: ratings, a pair, and what was dropped.

The two ratings and the pair of a task are dropped each for a reason of their own:

    too_few_annotations   fewer than three annotators answered; of ratings, about either response
    disagreement          even the three most similar answers spread over more than 2; of ratings, about either response
    tie                   the overall preference is 0
    empty_response        a response without text
    bad_turns             the turns of the prompt do not alternate, or one is empty
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nemo_hs2pref.data.aggregation import (
    AggregatedPreference,
    aggregate_preference,
    agreeing_annotators,
    most_similar_preferences,
    panel_of,
    preference_panel,
    reason_to_drop,
)
from nemo_hs2pref.data.formats.annotations import TASK_KEYS, Columns, Task, parse_task
from nemo_hs2pref.data.formats.usable import fault_of_turns
from nemo_hs2pref.data.groups import Dropped, Found, Kept, Panel, Split
from nemo_hs2pref.data.reading.rows import Reading
from nemo_hs2pref.data.reading.sources import Release, Table
from nemo_hs2pref.data.records import Message, PreferencePair, RatedResponse

RELEASE = Release(None, ({"tasks": "annotations.jsonl"},))


def read(tables: Mapping[str, Table], reading: Reading) -> Iterator[Found]:
    """Everything that is in the tasks; those without a split are divided by their prompts."""
    for line in reading.rows(tables["tasks"], parse_task, TASK_KEYS):
        task = line.record
        if reading.is_new(task.id, line.where):
            yield from found_in_task(task, task.split or reading.split_of(task.prompt), line.where)


def found_in_task(task: Task, split: Split, where: str) -> Iterator[Found]:
    """The task's panels, then its rated responses "<id>:1" and "<id>:2" and its pair "<id>", kept or dropped.

    The paper drops a task's ratings as a whole where the annotators of one response disagree; a response without
    text is left out alone. The pair carries the ratings of both responses where they were not dropped.
    """
    rated = _NOT_RATED if task.ratings is None else _aggregate(task.ratings)
    yield from rated.panels
    if task.ratings is not None:
        yield from _responses(task, rated, split, where)
    if task.preferences is not None:
        yield preference_panel(task.preferences)
        yield _pair(task, task.preferences, rated, split, where)


@dataclass(frozen=True)
class _Rated:
    """What the annotators' ratings of both responses come to."""

    panels: tuple[Panel, ...]
    reason: str | None  # why they are dropped
    of_response: tuple[dict[str, float], dict[str, float]]  # both empty where they are dropped


_NOT_RATED = _Rated((), None, ({}, {}))


def _aggregate(responses: tuple[Columns, Columns]) -> _Rated:
    triples, reason = agreeing_annotators(responses)
    first, second = (
        [panel_of(name, ratings, triple) for name, ratings in columns.items()]
        for columns, triple in zip(responses, triples, strict=True)
    )
    return _Rated((*first, *second), reason, (_results(first), _results(second)))


def _results(panels: Sequence[Panel]) -> dict[str, float]:
    return {panel.question: panel.result for panel in panels if panel.result is not None}


def _responses(task: Task, rated: _Rated, split: Split, where: str) -> Iterator[Found]:
    kept: list[RatedResponse] = []
    for side, (response, ratings) in enumerate(zip(task.responses, rated.of_response, strict=True), start=1):
        reason = rated.reason or fault_of_turns(task.prompt, response)
        if reason:
            yield Dropped("ratings", split, reason, where, f"{task.id}:{side}")
        else:
            messages = (*task.prompt, Message("assistant", response))
            kept.append(RatedResponse(f"{task.id}:{side}", messages, ratings))
    if kept:
        yield Kept("ratings", split, tuple(kept))


def _pair(task: Task, preferences: Sequence[int], rated: _Rated, split: Split, where: str) -> Kept | Dropped:
    overall = aggregate_preference(preferences)
    if overall is None:
        reason = reason_to_drop(preferences, most_similar_preferences(preferences)) or "tie"
        return Dropped("pairs", split, reason, where, task.id)
    fault = fault_of_turns(task.prompt, *task.responses)
    if fault is not None:
        return Dropped("pairs", split, fault, where, task.id)
    return Kept("pairs", split, (_oriented(task, preferences, overall, rated),), where)


def _oriented(task: Task, preferences: Sequence[int], overall: AggregatedPreference, rated: _Rated) -> PreferencePair:
    chosen, rejected = (1, 0) if overall.strength > 0 else (0, 1)
    return PreferencePair(
        id=task.id,
        prompt=task.prompt,
        chosen=task.responses[chosen],
        rejected=task.responses[rejected],
        strength=abs(overall.strength),
        chosen_attributes=rated.of_response[chosen],
        rejected_attributes=rated.of_response[rejected],
        justification=_justification(task, preferences, overall),
        chosen_position=chosen + 1,
    )


def _justification(task: Task, preferences: Sequence[int], overall: AggregatedPreference) -> str | None:
    """Of the three annotators' texts the one whose preference is nearest to the overall one, the first of several.

    Ours: the paper has one justification a pair and does not say how it was chosen. The three agree on the better
    response wherever a pair is kept, so that no text argues for the other.
    """
    written = [index for index in overall.indices if task.justifications[index] is not None]
    nearest = min(written, key=lambda index: abs(preferences[index] - overall.strength), default=None)
    return None if nearest is None else task.justifications[nearest]
