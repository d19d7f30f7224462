"""What the papers publish on RewardBench: numbers of theirs, none of ours.

HelpSteer2-Preference is arXiv 2410.01257, HelpSteer2 is arXiv 2406.08673. Per cent; overall is the plain mean of the
four sections, without the prior sets. Of the Pairwise Justifiers in Table 1 only "at most 90.0" is known here, so that
they have no row.
"""

from collections.abc import Mapping
from dataclasses import dataclass

PREFERENCE = "HelpSteer2-Preference, Table 1"
HELPSTEER2 = "HelpSteer2, Table 3"
CHAT_HARD = "HelpSteer2-Preference, subsets of Chat Hard"


@dataclass(frozen=True)
class Published:
    """One row as printed."""

    model: str
    overall: float
    chat: float
    chat_hard: float
    safety: float
    reasoning: float
    source: str
    prior_sets: float | None = None  # printed in HelpSteer2 alone, and not for every model

    @property
    def scores(self) -> tuple[float, float, float, float, float]:
        return self.overall, self.chat, self.chat_hard, self.safety, self.reasoning


# By the experiment that trains the model; `expo` is made of two of them. In the order of the tables.
PUBLISHED = {
    "rm_regression_all_attributes": Published(
        "SteerLM Regression, HelpSteer attributes", 92.4, 95.0, 85.5, 94.0, 95.1, PREFERENCE
    ),
    "rm_stage1_helpfulness": Published(
        "SteerLM Regression, helpfulness only", 93.0, 97.2, 84.2, 94.6, 95.8, PREFERENCE
    ),
    "rm_scratch_regular_bt": Published("Bradley-Terry from scratch, Regular", 91.5, 97.5, 80.3, 90.5, 97.9, PREFERENCE),
    "rm_scratch_margin_bt": Published("Bradley-Terry from scratch, Margin", 91.5, 98.0, 78.5, 94.6, 94.8, PREFERENCE),
    "rm_scratch_scaled_bt": Published("Bradley-Terry from scratch, Scaled", 92.7, 97.8, 83.5, 93.2, 96.0, PREFERENCE),
    "rm_stage2_regular_bt": Published(
        "Bradley-Terry from helpfulness only, Regular", 92.7, 98.9, 82.9, 93.7, 95.4, PREFERENCE
    ),
    "rm_stage2_margin_bt": Published(
        "Bradley-Terry from helpfulness only, Margin", 93.0, 98.3, 83.8, 94.0, 95.8, PREFERENCE
    ),
    "rm_stage2_scaled_bt": Published(
        "Bradley-Terry from helpfulness only, Scaled", 93.7, 98.0, 85.7, 94.3, 96.7, PREFERENCE
    ),
    "expo": Published("Bradley-Terry from helpfulness only, Scaled + ExPO", 94.1, 97.5, 85.7, 95.1, 98.1, PREFERENCE),
    "rm_helpsteer2_llama3_70b": Published(
        "Llama 3 70B RM (HelpSteer2)", 88.8, 91.3, 80.3, 92.8, 90.7, HELPSTEER2, 66.5
    ),
    "rm_oasst_llama3_70b": Published("Llama 3 70B (Open Assistant)", 79.1, 91.3, 59.2, 76.0, 89.9, HELPSTEER2, 66.7),
    "rm_hh_rlhf_llama3_70b": Published("Llama 3 70B (HH-RLHF)", 73.9, 94.4, 54.6, 81.2, 65.6, HELPSTEER2, 68.8),
    "rm_helpsteer_llama3_70b": Published("Llama 3 70B (HelpSteer)", 66.1, 93.3, 59.7, 56.8, 54.9, HELPSTEER2, 67.7),
}

# The models that no experiment trains, in the order of the tables; both tables list some of them.
OTHERS = (
    Published("Skywork-Reward-Gemma-2-27B", 93.8, 95.8, 91.4, 91.9, 96.1, PREFERENCE),
    Published("TextEval-Llama3.1-70B", 93.5, 94.1, 90.1, 93.2, 96.4, PREFERENCE),
    Published("Skywork-Critic-Llama-3.1-70B", 93.3, 96.6, 87.9, 93.1, 95.5, PREFERENCE),
    Published("SFR-LLaMa-3.1-70B-Judge-r", 92.7, 96.9, 84.8, 91.6, 97.6, PREFERENCE),
    Published("Nemotron-4-340B-Reward", 92.0, 95.8, 87.1, 91.5, 93.7, PREFERENCE),
    Published("ArmoRM-Llama3-8B", 90.8, 96.9, 76.8, 92.2, 97.3, PREFERENCE),
    Published("Cohere May 2024", 89.5, 96.4, 71.3, 92.7, 97.7, PREFERENCE),
    Published("Llama3-70B-SteerLM-RM", 88.8, 91.3, 80.3, 92.8, 90.7, PREFERENCE),
    Published("Gemini 1.5 Pro-0514", 88.1, 92.3, 80.6, 87.5, 92.0, PREFERENCE),
    Published("GPT-4o-2024-08-06", 86.7, 96.1, 76.1, 88.1, 86.6, PREFERENCE),
    Published("Claude-3.5-Sonnet-0620", 84.2, 96.4, 74.0, 81.6, 84.7, PREFERENCE),
    Published("Llama-3.1-70B-Instruct (judge)", 84.0, 97.2, 70.2, 82.8, 86.0, PREFERENCE),
    Published("Nemotron-4 340B RM (HelpSteer2)", 92.0, 95.8, 87.1, 91.5, 93.7, HELPSTEER2, 67.4),
    Published("Cohere May 2024", 89.5, 96.4, 71.3, 92.7, 97.7, HELPSTEER2, 78.2),
    Published("Gemini 1.5 Pro-0514", 88.1, 92.3, 80.6, 87.5, 92.0, HELPSTEER2),
    Published("Cohere March 2024", 87.1, 94.7, 65.1, 90.3, 98.2, HELPSTEER2, 74.6),
    Published("GPT-4-0125-preview", 85.9, 95.3, 74.3, 87.2, 86.9, HELPSTEER2, 70.9),
    Published("GPT-4-0409-preview", 85.1, 95.3, 75.4, 87.1, 82.7, HELPSTEER2, 73.6),
    Published("GPT-4o-0513", 84.7, 96.6, 70.4, 86.7, 84.9, HELPSTEER2, 72.6),
    Published("Claude-3-Opus-0229", 80.7, 94.7, 60.3, 89.1, 78.7, HELPSTEER2),
    Published("ArmoRM-Llama 3 8B", 90.8, 96.9, 76.8, 92.2, 97.3, HELPSTEER2, 74.3),
    Published("RLHFlow-Llama 3 8B", 87.1, 98.3, 65.8, 89.7, 94.7, HELPSTEER2, 74.6),
    Published("Eurus RM Mistral 7B", 82.8, 98.0, 65.6, 81.2, 86.3, HELPSTEER2, 71.7),
    Published("Starling RM Yi 34B", 82.7, 96.9, 57.2, 88.2, 88.5, HELPSTEER2, 71.4),
    Published("Prometheus 2 Mistral 8x7B", 75.3, 93.0, 47.1, 83.5, 77.4, HELPSTEER2),
    Published("Llama 3 70B Instruct", 76.0, 97.6, 58.9, 69.2, 78.5, HELPSTEER2, 70.4),
    Published("Pythia 1.4B (Open Assistant)", 70.0, 88.5, 48.7, 65.3, 77.5, HELPSTEER2, 65.3),
)


@dataclass(frozen=True)
class PublishedSubsets:
    """The accuracies of one model on the subsets of Chat Hard, as printed."""

    model: str
    chat_hard: float
    subsets: Mapping[str, float]
    source: str


CHAT_HARD_SUBSETS = (
    PublishedSubsets(
        "Llama-3.1-Nemotron-70B-Reward",
        85.7,
        {
            "llmbar-adver-manual": 76.1,
            "llmbar-adver-neighbor": 88.8,
            "llmbar-natural": 95.0,
            "llmbar-adver-GPTInst": 87.0,
            "llmbar-adver-GPTOut": 72.3,
            "mt-bench-hard": 75.7,
        },
        CHAT_HARD,
    ),
    PublishedSubsets(
        "Skywork-Reward-Gemma-2-27B",
        91.4,
        {
            "llmbar-adver-manual": 78.3,
            "llmbar-adver-neighbor": 89.6,
            "llmbar-natural": 96.0,
            "llmbar-adver-GPTInst": 97.8,
            "llmbar-adver-GPTOut": 91.5,
            "mt-bench-hard": 86.5,
        },
        CHAT_HARD,
    ),
)
