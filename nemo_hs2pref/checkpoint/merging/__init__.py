"""Models made of models, number by number: extrapolated, averaged, LoRA adapters added."""
