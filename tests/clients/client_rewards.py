"""Under the clients' transformers: the rewards of exported models, as their cards say.

usage: client_rewards.py ROWS FOLDER...    prints {folder: {way: [rewards]}}
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline


def rewards(folder: str, conversations: list) -> dict[str, list[float]]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype="auto").eval()
    texts = tokenizer.apply_chat_template(conversations, tokenize=False)
    ways = {"pipeline": [row["score"] for row in pipeline("text-classification", model, tokenizer=tokenizer)(texts)]}
    for side in ("left", "right"):
        tokenizer.padding_side = side
        batch = tokenizer.apply_chat_template(conversations, padding=True, return_dict=True, return_tensors="pt")
        assert batch["input_ids"].equal(tokenizer(texts, padding=True, return_tensors="pt")["input_ids"])
        with torch.no_grad():
            ways[side] = model(**batch).logits[:, 0].float().tolist()
    return ways


rows = [json.loads(line)["messages"] for line in Path(sys.argv[1]).read_text().splitlines()]
print(json.dumps({folder: rewards(folder, rows) for folder in sys.argv[2:]}))
