"""RewardBench (arXiv 2403.13787): 2,985 pairs in 23 subsets, which four sections weigh together."""

from nemo_hs2pref.evaluation.rewardbench.files import load_rewardbench
from nemo_hs2pref.evaluation.rewardbench.report import (
    RewardBenchReport,
    SubsetReport,
    evaluate_rewardbench,
    require_subsets,
)
from nemo_hs2pref.evaluation.rewardbench.sections import section_scores

__all__ = [
    "RewardBenchReport",
    "SubsetReport",
    "evaluate_rewardbench",
    "load_rewardbench",
    "require_subsets",
    "section_scores",
]
