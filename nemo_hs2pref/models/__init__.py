"""The few overrides of NeMo-Aligner's and NeMo's model classes, and the objectives they are trained with."""
