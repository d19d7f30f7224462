"""The training templates as Jinja, so that transformers renders what the reward model was trained on.

`nemo_hs2pref.data.templates` writes the same text in Python; a test compares the two.
"""

import re

from transformers import PreTrainedTokenizerBase

from nemo_hs2pref.data.templates.chat_template import TODAY
from nemo_hs2pref.data.templates.extra_id import SYSTEM
from nemo_hs2pref.errors import CheckpointError

# What check_turns demands: user and assistant in turn after an optional system message. That the last one is the
# response is left to our own commands: RewardBench's scorer renders the prompt first, without add_generation_prompt.
# The text of a prompt is a prefix of the whole one, with add_generation_prompt and without, as TRL needs it.
TURNS = """\
{%- set system = messages[0]['content'] if messages[0]['role'] == 'system' else none -%}
{%- set turns = messages if system is none else messages[1:] -%}
{%- if not turns -%}
{{- raise_exception('there is no message of the user') -}}
{%- endif -%}
{%- set roles = ['user', 'assistant'] -%}
{%- for turn in turns -%}
{%- if turn['role'] != roles[loop.index0 % 2] -%}
{{- raise_exception('user and assistant take turns after an optional system message') -}}
{%- endif -%}
{%- endfor -%}
{%- set is_judged = turns[-1]['role'] == 'assistant' -%}
{%- if is_judged and add_generation_prompt -%}
{{- raise_exception('add_generation_prompt asks for a response after the response to be judged') -}}
{%- endif -%}
"""

EXTRA_ID = (
    TURNS
    + "{{- '<extra_id_0>System\\n' + ("
    + repr(SYSTEM)
    + """ if system is none else system) + '\\n' -}}
{%- for turn in turns -%}
{{- '<extra_id_1>' + {'user': 'User', 'assistant': 'Assistant'}[turn['role']] + '\\n' + turn['content'] + '\\n' -}}
{%- endfor -%}
{{- '<extra_id_1>Assistant\\n' if add_generation_prompt else '<extra_id_2>' if is_judged else '' -}}
"""
)

LLAMA3 = (
    TURNS
    + """\
{{- '<|begin_of_text|>' -}}
{%- for message in messages -%}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' -}}
{%- endfor -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' if add_generation_prompt -}}
"""
)

CHAT_TEMPLATES = {"extra_id": EXTRA_ID, "llama3": LLAMA3}
OWN = "tokenizer"  # the name of the tokenizer's own template
ASKS_FOR_TODAY = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")


def chat_template(template: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The Jinja source of the training template named `template`."""
    if template == OWN and isinstance(tokenizer.chat_template, str):
        return without_today(tokenizer.chat_template)
    if template not in CHAT_TEMPLATES:
        raise CheckpointError(
            f"the head was trained on the template {template!r}, which has no chat template for transformers here; "
            f"expected {', '.join(CHAT_TEMPLATES)}, or {OWN} with a chat template in the tokenizer's files"
        )
    return CHAT_TEMPLATES[template]


def without_today(source: str) -> str:
    """The template with the date that training told it: rewards must not depend on the day of use."""
    return ASKS_FOR_TODAY.sub(lambda call: repr(TODAY.strftime(call[2])), source)
