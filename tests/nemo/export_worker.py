"""Scores of our model for every checkpoint given, in one launch; prints one JSON object.

usage: export_worker.py CONVERSATIONS.json SAVED CHECKPOINT...
SAVED becomes the first checkpoint as megatron-core writes it in training, weights only.
"""

import json
import sys
from pathlib import Path
from typing import Any


def main(conversations: Path, saved: Path, *checkpoints: Path) -> dict[str, Any]:
    from nemo_hs2pref.checkpoint.megatron.weights import save_weights
    from nemo_hs2pref.data.records import Conversation, Message
    from nemo_hs2pref.scoring.loop import ModelScorer
    from nemo_hs2pref.scoring.nemo import NemoModel

    rows = [
        Conversation(str(i), tuple(Message(**message) for message in messages))
        for i, messages in enumerate(json.loads(conversations.read_text()))
    ]
    scores: dict[str, Any] = {}
    for checkpoint in checkpoints:
        model = NemoModel(checkpoint)
        scores[str(checkpoint)] = [score.to_json() for score in ModelScorer(model).score(rows)]
        if checkpoint == checkpoints[0]:
            (saved / "model_weights").mkdir()
            save_weights(model.model, saved)
    return scores


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))
