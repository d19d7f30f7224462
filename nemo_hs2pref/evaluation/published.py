"""What the papers publish on RewardBench for the models that the experiments train: numbers of theirs, none of ours.

HelpSteer2-Preference is arXiv 2410.01257, HelpSteer2 is arXiv 2406.08673. Per cent; overall is the plain mean of the
four sections.
"""

from dataclasses import dataclass

PREFERENCE = "HelpSteer2-Preference, Table 1"
HELPSTEER2 = "HelpSteer2, Table 3"


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
    "rm_helpsteer2_llama3_70b": Published("Llama 3 70B RM (HelpSteer2)", 88.8, 91.3, 80.3, 92.8, 90.7, HELPSTEER2),
    "rm_oasst_llama3_70b": Published("Llama 3 70B (Open Assistant)", 79.1, 91.3, 59.2, 76.0, 89.9, HELPSTEER2),
    "rm_hh_rlhf_llama3_70b": Published("Llama 3 70B (HH-RLHF)", 73.9, 94.4, 54.6, 81.2, 65.6, HELPSTEER2),
    "rm_helpsteer_llama3_70b": Published("Llama 3 70B (HelpSteer)", 66.1, 93.3, 59.7, 56.8, 54.9, HELPSTEER2),
}
