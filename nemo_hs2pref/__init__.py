"""HelpSteer2-Preference on NVIDIA NeMo-Aligner: reward models from ratings and preferences."""

__version__ = "0.1.0"
