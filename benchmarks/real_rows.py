"""Public human judgements as a prepared data folder, to run the main job on real rows.

usage: python benchmarks/real_rows.py ROWS OUT [--max-length N --tokenizer PATH] [--train-pairs N]

ROWS holds, as their authors publish them (none is part of this project):
    helpsteer2-samples/hs2.jsonl           helpfulness ratings of HelpSteer2 (NVIDIA, CC-BY-4.0): stage 1
    helpsteer2-samples/nemo-aligner-test-rm.jsonl    eight responses of HelpSteer2 with all five ratings: stage 1
    unieval-human-ratings/dialogue-topical_chat.json    360 responses to Topical-Chat dialogues (UniEval, MIT): a
                                           STAND-IN for ratings of several attributes; see `topical_chat`: stage 1
    helpsteer2-samples/preference_pairs_with_attributes.jsonl    pairs of HelpSteer2-Preference, kept apart:
                                           pairs.helpsteer2.jsonl, for evaluation only
    tulu1-human-eval/annotations.jsonl     expert preferences (arXiv 2306.04751, Apache-2.0): stage 2
    pandalm-testset-v1/testset-v1.json     three votes a pair (PandaLM, Apache-2.0): stage 2
The last two share prompts, so they are split by prompt across both: a third of the prompts is held out. Of the rated
prompts a tenth is. The authors of
252 of the prompts (self-instruct's user-oriented tasks) ask that they not be trained on; a model trained here is a
demonstration and nothing to publish.
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from nemo_hs2pref import __version__
from nemo_hs2pref.data.jsonl import JsonlWriter
from nemo_hs2pref.data.preparation.length import LengthLimit
from nemo_hs2pref.data.preparation.output import MANIFEST
from nemo_hs2pref.data.records import ATTRIBUTES, Message, PreferencePair, RatedResponse, Role
from nemo_hs2pref.data.templates.extra_id import split_prompt
from nemo_hs2pref.files import write_json

TOOL = "benchmarks/real_rows.py"
ROLE: dict[str, Role] = {"User": "user", "Assistant": "assistant"}
IGNORED = -100  # Aligner's mark of an attribute that was not rated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--max-length", type=int, default=512, help="tokens")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--train-pairs", type=int, default=300)
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} exists; name a new folder")
    args.out.mkdir(parents=True)

    limit = LengthLimit(args.max_length, args.tokenizer)
    helpsteer2 = short([*helpsteer2_pairs(args.rows)], limit)
    apart = {prompt_key(pair.prompt[-1]) for pair in helpsteer2}
    ratings = [*rated(args.rows), *five_attributes(args.rows), *topical_chat(args.rows)]
    ratings = short([row for row in ratings if prompt_key(row.messages[-2]) not in apart], limit)
    pairs = short([*tulu(args.rows), *pandalm(args.rows)], limit)
    held_out = [pair for pair in pairs if is_held_out(pair.prompt[-1], of=3)]
    train = [pair for pair in pairs if not is_held_out(pair.prompt[-1], of=3)]
    train = sorted(train, key=lambda pair: digest(pair.id))[: args.train_pairs]

    files: dict[str, list[Any]] = {}
    for split, wanted in (("train", False), ("validation", True)):
        files[f"ratings.{split}.jsonl"] = [row for row in ratings if is_held_out(row.messages[-2], of=10) == wanted]
    files |= {"pairs.train.jsonl": train, "pairs.validation.jsonl": held_out, "pairs.helpsteer2.jsonl": helpsteer2}
    outputs = {name: written(args.out / name, rows) for name, rows in files.items()}
    counts = {
        "helpsteer2_pairs": len(helpsteer2),
        "ratings": dict(Counter(row.id.rsplit("-", 1)[0] for row in ratings)),
        "train_pairs": len(train),
        "held_out_pairs": len(held_out),
    }
    notes = {"topical_chat": " ".join((topical_chat.__doc__ or "").split())}
    made = {"tool": TOOL, "version": __version__, "length_limit": limit.to_json()}
    write_json(args.out / MANIFEST, {**made, **counts, "notes": notes, "outputs": outputs})
    print(counts)


def written(path: Path, records: list[Any]) -> dict[str, Any]:
    """Write the rows; what the manifest says of their file."""
    with JsonlWriter(path) as file:
        for record in records:
            file.write(record.to_json())
    return file.to_json()


def rated(rows: Path) -> Iterator[RatedResponse]:
    for number, row in enumerate(lines(rows / "helpsteer2-samples" / "hs2.jsonl")):
        messages = (*split_prompt(row["prompt"]), Message("assistant", row["response"]))
        yield RatedResponse(f"helpsteer2-{number}", messages, {"helpfulness": row["reference_helpfulness"]})


def five_attributes(rows: Path) -> Iterator[RatedResponse]:
    """NeMo-Aligner's own test rows, which are HelpSteer2's in its template."""
    for number, row in enumerate(lines(rows / "helpsteer2-samples" / "nemo-aligner-test-rm.jsonl")):
        _, *turns = row["text"].removesuffix("\n<extra_id_2>").split("\n<extra_id_1>")  # the first is the system's
        messages = [Message(ROLE[head], text) for head, _, text in (turn.partition("\n") for turn in turns)]
        ratings = zip(ATTRIBUTES, row["label"], strict=True)
        yield RatedResponse(f"aligner-{number}", tuple(messages), {name: x for name, x in ratings if x != IGNORED})


def topical_chat(rows: Path) -> Iterator[RatedResponse]:
    """A stand-in, not HelpSteer's scale: Topical-Chat's "overall" (1 to 5) is taken for helpfulness and its "coherence"
    (1 to 3) for coherence, both stretched to 0 to 4; correctness, complexity and verbosity are not rated."""
    path = rows / "unieval-human-ratings" / "dialogue-topical_chat.json"
    for number, row in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        said = [*row["source"].strip().split("\n"), row["system_output"]]
        said = said[len(said) % 2 :]  # the user begins
        messages = [Message(("user", "assistant")[turn % 2], text.strip()) for turn, text in enumerate(said)]
        scores = row["scores"]
        ratings = {"helpfulness": scores["overall"] - 1, "coherence": (scores["coherence"] - 1) * 2}
        yield RatedResponse(f"topical-chat-{number}", tuple(messages), ratings)


def helpsteer2_pairs(rows: Path) -> Iterator[PreferencePair]:
    for number, row in enumerate(lines(rows / "helpsteer2-samples" / "preference_pairs_with_attributes.jsonl")):
        sides = row["response_1"], row["response_2"]
        for pair in oriented(f"helpsteer2-{number}", row["prompt"], sides, row["preference_strength"], "helpsteer2"):
            yield replace(pair, prompt=tuple(split_prompt(row["prompt"])))


def tulu(rows: Path) -> Iterator[PreferencePair]:
    for number, row in enumerate(lines(rows / "tulu1-human-eval" / "annotations.jsonl")):
        sides = row["completion_a"], row["completion_b"]
        yield from oriented(f"tulu-{number}", row["prompt"], sides, row["strength"], "tulu")


def pandalm(rows: Path) -> Iterator[PreferencePair]:
    for row in json.loads((rows / "pandalm-testset-v1" / "testset-v1.json").read_text()):
        votes = [row[f"annotator{n}"] for n in (1, 2, 3)]
        prompt = "\n\n".join(part for part in (row["instruction"], row["input"]) if part)
        sides = row["response1"], row["response2"]
        yield from oriented(f"pandalm-{row['idx']}", prompt, sides, votes.count(2) - votes.count(1), "pandalm")


def oriented(name: str, prompt: str, sides: tuple[Any, Any], strength: int, subset: str) -> Iterator[PreferencePair]:
    """Nothing for a tie or an empty response (PandaLM has a few that are no text); above 0 prefers the second."""
    if strength and prompt.strip() and all(isinstance(side, str) and side.strip() for side in sides):
        chosen, rejected = sides[::-1] if strength > 0 else sides
        yield PreferencePair(name, (Message("user", prompt),), chosen, rejected, abs(strength), subset)


def short(records: list[Any], limit: LengthLimit) -> list[Any]:
    return [row for row, verdict in zip(records, limit.verdicts(records), strict=True) if verdict.reason is None]


def is_held_out(message: Message, *, of: int) -> bool:
    """One prompt in `of`, by its text without case and white space, which the sources write differently."""
    return int(digest(prompt_key(message)), 16) % of == 0


def prompt_key(message: Message) -> str:
    return "".join(message.content.lower().split())


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
