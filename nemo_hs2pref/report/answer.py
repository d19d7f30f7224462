"""The first words of the page: can this reward model be trusted?"""

from collections.abc import Sequence

from nemo_hs2pref.report.document import Answer, Block, Finding, Tone
from nemo_hs2pref.report.evaluations import Evaluation
from nemo_hs2pref.report.findings import (
    CALIBRATION,
    CHANCE,
    DEPENDENCE,
    LENGTH,
    findings,
    is_mostly_tied,
    length_alone,
    ties_of,
    ties_told,
)
from nemo_hs2pref.report.runs import Run
from nemo_hs2pref.report.verdicts import NOT_SHOWN, WORSE, percent

OVERALL = "Overall"
QUESTION = "Can this reward model be trusted?"
# What is said against a model, by the question that it does not pass, and how.
AGAINST = {
    (CHANCE, NOT_SHOWN): "its accuracy cannot be told from guessing",
    (LENGTH, NOT_SHOWN): "it is not shown to be better than length alone",
    (LENGTH, WORSE): "it is worse than length alone",
}
SWAPPED = (
    "No: it prefers the rejected response more often than guessing would; are the sides or the sign of the reward "
    "swapped?"
)
CAUTIONS = {
    CHANCE: "it is better than guessing in some parts of the benchmark only",
    LENGTH: "it is better than length alone in some parts of the benchmark only",
    CALIBRATION: "its margins are not to be read as probabilities",
    DEPENDENCE: "how often it is right depends on the length of the responses",
}
OPEN = {
    CHANCE: "whether it is better than guessing is open",
    LENGTH: "whether it is better than length alone is open",
    CALIBRATION: "whether its margins are probabilities is open",
    DEPENDENCE: "whether the length of the responses sways it is open",
}


def answer(run: Run) -> list[Block]:
    """A box for each evaluation, or the sentence that there is none."""
    if not run.evaluations:
        how = "Evaluate it into its own folder: hs2pref evaluate preferences --out RUN_DIR/evaluation ..."
        return [Answer("", "Nobody knows yet: this run holds no evaluation.", how, "unsure", ())]
    return [answer_of(evaluation, run) for evaluation in run.evaluations]


def answer_of(evaluation: Evaluation, run: Run) -> Answer:
    """Bad where it fails what any reward model must pass, unsure where something else speaks against it."""
    found = findings(evaluation)
    failed = [(finding.question, finding.answer) for finding in found if finding.tone == "bad"]
    unsure = [finding for finding in found if finding.tone == "unsure"]
    tone: Tone = "bad" if failed else "unsure" if unsure else "good"
    if change := run.change_since(evaluation):
        headline, tone = f"No answer: {change}.", "unsure"
    elif run.was_trained_on(evaluation):
        headline, tone = "No answer: the model was trained on these pairs.", "unsure"
    elif failed:
        headline = against(evaluation, failed)
    elif all(finding.answer == "open" for finding in found):
        headline = "Nobody knows yet: this evaluation answers no question."
    elif unsure:
        headline = f"With care: {', and '.join(cautions(unsure))}."
    else:
        headline = f"Yes, as far as {evaluation.summary['pairs']:,} pairs tell."
    return Answer(run.title_of(evaluation), headline, main_figures(evaluation), tone, found)


def against(evaluation: Evaluation, failed: Sequence[tuple[str, str]]) -> str:
    """Why not; where one cause is behind every answer, that alone."""
    if is_mostly_tied(evaluation):
        told = ties_told(evaluation)
        return f"No: {told[0].lower()}{told[1:]}."
    if (CHANCE, WORSE) in failed:
        return SWAPPED
    return f"No: {', and '.join(AGAINST[each] for each in failed)}."


def main_figures(evaluation: Evaluation) -> str:
    """How often it is right, and how often length alone is; a benchmark's own score where it has one."""
    summary = evaluation.summary
    told = f"{summary['pairs']:,} pairs: the reward is right in {percent(summary['accuracy'])}"
    if alone := length_alone(evaluation):
        told += f", taking the {alone[0]} response in {percent(alone[1])}"
    told += "."
    if ties := ties_of(evaluation):
        told += f" In {ties:,} both responses have the same reward, which counts as wrong."
    overall = (summary.get("sections") or {}).get(OVERALL, summary.get("overall"))
    return told if overall is None else f"{told} The benchmark's Overall is {percent(overall)}."


def cautions(unsure: Sequence[Finding]) -> list[str]:
    return [(OPEN if finding.answer == "open" else CAUTIONS)[finding.question] for finding in unsure]
