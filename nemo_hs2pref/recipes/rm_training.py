"""The heavy side of reward models."""

from nemo_hs2pref.runtime.run.rm_data import read_data
from nemo_hs2pref.runtime.run.train_rm import train

__all__ = ["read_data", "train"]
