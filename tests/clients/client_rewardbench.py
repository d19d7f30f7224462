"""Under RewardBench and its transformers: its scorer on pairs of ours; it writes FOLDER_outputs.jsonl.

usage: client_rewardbench.py FOLDER PAIRS
"""

import sys

from rewardbench.rewardbench import Args, rewardbench
from transformers import BatchEncoding

folder, pairs = sys.argv[1:]
move = BatchEncoding.to
BatchEncoding.to = lambda self, device: move(self, "cpu")  # its pipeline knows only "cuda"
rewardbench(
    Args(model=folder, dataset=pairs, load_json=True, torch_dtype="float32", not_quantized=True, max_length=2048)
)
