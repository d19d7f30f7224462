"""LLMBar as RewardBench has it: 419 of the 456 pairs of its section Chat Hard.

usage: python benchmarks/llmbar_pairs.py LLMBAR OUT.jsonl

LLMBAR holds the five files of LLMBar (Zeng et al., arXiv 2310.07641, MIT), which RewardBench took over whole as its
subsets llmbar-*: each a list of {"input", "output_1", "output_2", "label": 1 or 2, the better one}. OUT is a pairs file
for `hs2pref evaluate rewardbench`; of Chat Hard only mt-bench-hard is missing.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nemo_hs2pref.data.records import Message, PreferencePair, write_jsonl

SUBSET_OF_FILE = {
    "Natural": "llmbar-natural",
    "Adversarial-Neighbor": "llmbar-adver-neighbor",
    "Adversarial-GPTInst": "llmbar-adver-GPTInst",
    "Adversarial-GPTOut": "llmbar-adver-GPTOut",
    "Adversarial-Manual": "llmbar-adver-manual",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("llmbar", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    pairs = list(llmbar_pairs(args.llmbar))
    write_jsonl(args.out, (pair.to_json() for pair in pairs))
    print(dict(Counter(pair.subset for pair in pairs)))


def llmbar_pairs(folder: Path) -> Iterator[PreferencePair]:
    for file, subset in SUBSET_OF_FILE.items():
        rows = json.loads((folder / f"{file}.json").read_text(encoding="utf-8"))
        for number, row in enumerate(rows, start=1):
            outputs = row["output_1"], row["output_2"]
            chosen, rejected = outputs if row["label"] == 1 else outputs[::-1]
            prompt = (Message("user", row["input"]),)
            yield PreferencePair(f"{subset}/{number}", prompt, chosen, rejected, subset=subset)


if __name__ == "__main__":
    main()
