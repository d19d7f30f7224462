"""Under the clients' TRL: one step of its RewardTrainer from an exported model, saved.

usage: client_trl.py FOLDER PAIRS OUT    prints {"tokens": of the first pair, "moved": the largest change of a weight}
"""

import json
import sys
from pathlib import Path

from datasets import Dataset
from trl import RewardConfig, RewardTrainer

folder, pairs, out = sys.argv[1:]
rows = [json.loads(line) for line in Path(pairs).read_text().splitlines()]
settings = RewardConfig(
    output_dir=f"{out}.run",
    max_steps=1,
    per_device_train_batch_size=2,
    learning_rate=1e-3,
    use_cpu=True,
    bf16=False,
    gradient_checkpointing=False,
    report_to=[],
    save_strategy="no",
)
trainer = RewardTrainer(model=folder, args=settings, train_dataset=Dataset.from_list(rows))
before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
trainer.train()
trainer.save_model(out)
first = trainer.train_dataset[0]
moved = max((value.detach() - before[name]).abs().max().item() for name, value in trainer.model.named_parameters())
print(json.dumps({"tokens": [first["chosen_ids"], first["rejected_ids"]], "moved": moved}))
