"""Rows in the forms of other projects as rows of our own, for every command that reads rows.

messages     turns in anybody's spelling as {"role", "content"}
prompt       which key holds the prompt, and the system message beside it
pairs        chosen and rejected, as texts, messages or whole conversations
nemo_rl      NeMo-RL's ranked completions
helpsteer3   HelpSteer3's preferences

A row's keys say which form it has. What they do not say for certain is refused.
"""
