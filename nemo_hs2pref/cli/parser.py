"""An argument parser that takes no empty word, and of numbers only finite ones, whatever the verb."""

import argparse
import math
from typing import Any

from nemo_hs2pref.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """Its sub-parsers are of this class too, so that no verb has to check for itself."""

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """argparse's own step from one word to its value; no public hook knows word and argument."""
        if action.nargs == argparse.PARSER:  # a sub-parser's words, which it looks at itself
            return super()._get_value(action, arg_string)  # pyright: ignore[reportAttributeAccessIssue]
        name = action.option_strings[-1] if action.option_strings else action.metavar or action.dest
        if not arg_string.strip() and arg_string is not action.default:
            raise ConfigError(f"{name} {arg_string!r}: is empty; give a value, or leave it out")
        value = super()._get_value(action, arg_string)  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name} {arg_string}: expected a finite number")
        return value
