"""The pairs that a reward model got most wrong, for reading: numbers do not say why."""

from collections.abc import Iterator

from nemo_hs2pref.report.document import Example, Section, Side, Text
from nemo_hs2pref.report.evaluations import Evaluation, ScoredPair

WORST = 10
STRENGTHS = {1: "slightly better", 2: "better", 3: "much better"}


def worst(evaluation: Evaluation) -> Iterator[Section]:
    """The pairs with the largest margins in favour of the rejected response; a sentence where there are none."""
    wrong = sorted((pair for pair in evaluation.pairs if pair.margin < 0), key=lambda pair: (pair.margin, pair.id))
    title = "Worst-scored examples"
    if not wrong:
        yield Section(title, [Text("None: no rejected response has a higher reward than the chosen one.")])
        return
    told = f"{min(WORST, len(wrong))} of {len(wrong):,} pairs in which the rejected response has the higher reward"
    yield Section(title, [Text(f"{told}, largest distance first."), *map(example, wrong[:WORST])])


def example(pair: ScoredPair) -> Example:
    facts = [f"margin {pair.margin:+.3f}"]
    if pair.subset:
        facts.append(f"subset {pair.subset}")
    if pair.strength:
        facts.append(f"strength {pair.strength}, {STRENGTHS.get(pair.strength, '')}".rstrip(", "))
    sides = (
        side("Chosen", pair.chosen, pair.chosen_reward),
        side("Rejected", pair.rejected, pair.rejected_reward),
    )
    return Example(pair.id, " · ".join(facts), pair.prompt, sides)


def side(title: str, text: str, reward: float) -> Side:
    return Side(title, f"reward {reward:.3f} · {len(text):,} characters", text)
