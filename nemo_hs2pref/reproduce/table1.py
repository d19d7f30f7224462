"""`hs2pref reproduce table1`: from a plan to OUT/table1.md, table1.json and table1.png."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nemo_hs2pref.config.summary import one_line
from nemo_hs2pref.data.records import PreferencePair, read_pairs
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.evaluation.preferences import decided
from nemo_hs2pref.evaluation.scores import Scorer
from nemo_hs2pref.files import read_json, replacing, write_json
from nemo_hs2pref.laptop import base_words, is_prepared, prepare_words, shown
from nemo_hs2pref.recipes.table import recipe_of
from nemo_hs2pref.reproduce.plan import BASE, EXPO, SCALES, Plan, Run
from nemo_hs2pref.reproduce.runs import Command, do_runs
from nemo_hs2pref.reproduce.scores import file_of, score_runs
from nemo_hs2pref.reproduce.table import markdown, summarise

HELD_OUT = "pairs.validation.jsonl"
REQUEST = "reproduce.json"  # in OUT: what its runs were trained from


def reproduce(plan: Plan, source: str, command: Command, make_scorer: Callable[[Path], Scorer]) -> dict[str, Any]:
    """Do what is not done, and write the table; returns what stands in table1.json.

    Args:
        source: `sample`, a folder or hub id that `hs2pref data prepare` reads, or a prepared folder, plan.data.
        command: runs `hs2pref WORDS...`.
        make_scorer: see score_runs.
    """
    check(plan)
    claim(plan, source)
    for words in preparation(plan, source):
        command(words)
    pairs = held_out(plan)  # before the first run: a bad row must not cost hours
    do_runs(plan, command)
    by_run = score_runs(plan.runs, pairs, make_scorer)
    scores = {row: {run.seed: by_run[run] for run in plan.runs if run.row == row} for row in plan.rows}
    summary = summarise(pairs, scores)
    write(plan.out, summary)
    return summary


def held_out(plan: Plan) -> list[PreferencePair]:
    return decided(read_pairs(plan.data / HELD_OUT, require_strength=False))


def check(plan: Plan) -> None:
    """Refuse a plan that cannot be started from here, or whose overrides some training would refuse hours later."""
    if not SCALES[plan.scale].runs_here:
        raise ConfigError(
            f"--scale {plan.scale}: every row is a job for a cluster, and nothing is started from here; "
            "--dry-run prints the commands"
        )
    for row in plan.rows:
        described(plan, row)


def described(plan: Plan, row: str) -> str:
    """What a row trains, in one line; ConfigError where its configuration cannot work."""
    if row == EXPO:
        return "no training"
    run = next(run for run in plan.runs if run.row == row)
    _, name, *overrides = plan.words(run)
    recipe = recipe_of(name)
    config, _ = recipe.load(overrides)
    recipe.check(config, {})
    return one_line(config)


def claim(plan: Plan, source: str) -> None:
    """A folder goes on with the data and the base that its runs have; one of somebody else's is left alone."""
    file = plan.out / REQUEST
    request = {"data": source, "base": str(plan.base), "scale": plan.scale}
    if file.exists():
        before = read_json(file, ConfigError)
        if before != request:
            raise ConfigError(f"--out {plan.out}: holds runs of {before}, asked for is {request}; name a new folder")
    elif plan.out.exists() and any(plan.out.iterdir()):
        raise ConfigError(f"--out {plan.out}: holds files that are not a reproduction's; name a new folder")
    write_json(file, request)


def preparation(plan: Plan, source: str) -> list[list[str]]:
    """Commands that make the base model and the rows, where they are ours to make and not there."""
    words: list[list[str]] = []
    if plan.base == plan.out / BASE and not plan.base.exists():
        words.append(base_words(plan.base))
    if not is_prepared(str(plan.data)):
        words.append(prepare_words(source, plan.base, plan.data, SCALES[plan.scale].max_length))
    return words


def commands(plan: Plan, source: str) -> str:
    """What would be run, as a person could type it."""
    together = "; here one process scores for all" if SCALES[plan.scale].runs_here else ""
    lines = [shown(words) for words in preparation(plan, source)]
    for run in plan.runs:
        lines += ["", f"# {run}: {described(plan, run.row)}", shown(plan.words(run))]
    lines += ["", f"# the rewards of both sides of every held-out pair{together}"]
    lines += [shown(scoring(plan, run)) for run in plan.runs]
    return "\n".join(lines).strip()


def scoring(plan: Plan, run: Run) -> list[str]:
    files = ("--input", str(plan.data / HELD_OUT), "--output", str(file_of(run)))
    parallel = SCALES[plan.scale].tensor_parallel
    return ["score", "--model", str(run.model), *files, *(("--tensor-parallel", str(parallel)) if parallel > 1 else ())]


def write(out: Path, summary: dict[str, Any]) -> None:
    """The table for programs, for people, and as a picture."""
    from nemo_hs2pref.reproduce.picture import plot_table  # heavy: matplotlib

    write_json(out / "table1.json", summary)
    with replacing(out / "table1.md") as temporary:
        temporary.write_text(markdown(summary), encoding="utf-8")
    plot_table(summary, out / "table1.png")
