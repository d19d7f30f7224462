"""The first words of the page: can this reward model be trusted?"""

from collections.abc import Sequence

from nemo_hs2pref.report.document import Answer, Block, Finding, Text
from nemo_hs2pref.report.evaluations import Evaluation
from nemo_hs2pref.report.findings import CALIBRATION, CHANCE, DEPENDENCE, LENGTH, findings, percent
from nemo_hs2pref.report.runs import Run

QUESTION = "Can this reward model be trusted?"
# What is said against a model, by the question that it does not pass.
AGAINST = {
    CHANCE: "its accuracy cannot be told from guessing",
    LENGTH: "it is not shown to be better than taking the longer response",
}
CAUTIONS = {
    CALIBRATION: "its margins are not to be read as probabilities",
    DEPENDENCE: "how often it is right depends on the length of the responses",
}


def answer(run: Run) -> list[Block]:
    """A box for each evaluation, or the sentence that there is none."""
    if not run.evaluations:
        return [
            Answer("Nobody knows yet: this run holds no evaluation.", "unsure", ()),
            Text("Evaluate it first, with --out inside the run's folder: hs2pref evaluate preferences --help."),
        ]
    return [answer_of(evaluation) for evaluation in run.evaluations]


def answer_of(evaluation: Evaluation) -> Answer:
    """Bad where it fails what any reward model must pass, unsure where something else speaks against it."""
    found = findings(evaluation)
    failed = [AGAINST[finding.question] for finding in found if finding.tone == "bad"]
    unsure = [finding for finding in found if finding.tone == "unsure"]
    measured = f"{evaluation.title}, {evaluation.summary['pairs']:,} pairs"
    right = f"right in {percent(evaluation.summary['accuracy'])}"
    length = f"the longer response in {percent(evaluation.summary['length_only_accuracy'])}"
    said = f"{measured}: {right}, {length}."
    if failed:
        return Answer(f"No. {said} {sentence(failed)}", "bad", found)
    if unsure:
        return Answer(f"With care. {said} {sentence(cautions(unsure))}", "unsure", found)
    return Answer(f"Yes, as far as this tells. {said}", "good", found)


def cautions(unsure: Sequence[Finding]) -> list[str]:
    return [
        f"{finding.question.rstrip('?').lower()} is open" if finding.answer == "open" else CAUTIONS[finding.question]
        for finding in unsure
    ]


def sentence(parts: Sequence[str]) -> str:
    text = ", and ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
