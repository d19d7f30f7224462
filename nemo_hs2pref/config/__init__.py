"""Configuration: YAML in conf/ holds values, the dataclasses here hold meaning, the code holds no defaults."""
