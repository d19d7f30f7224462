"""RewardBench 2 (arXiv 2506.01937): 1,865 prompts in six domains; one correct completion among four, or several."""

from nemo_hs2pref.evaluation.rewardbench2.files import load_rewardbench2
from nemo_hs2pref.evaluation.rewardbench2.items import DOMAINS, Item, ScoredPair, scored_pair
from nemo_hs2pref.evaluation.rewardbench2.report import DomainReport, RewardBench2Report, evaluate_rewardbench2
from nemo_hs2pref.evaluation.rewardbench2.ties import TiesScore, ties_score

__all__ = [
    "DOMAINS",
    "DomainReport",
    "Item",
    "RewardBench2Report",
    "ScoredPair",
    "TiesScore",
    "evaluate_rewardbench2",
    "load_rewardbench2",
    "scored_pair",
    "ties_score",
]
