"""What single texts of a row may say that nobody meant to train on."""

from collections.abc import Iterator, Sequence

from nemo_hs2pref.data.records import Message

# Each a row of markers that stand in a text in this order; most are no words, and one is enough.
TEMPLATES = (
    ("\n\nHuman:", "\n\nAssistant:"),
    ("### Instruction:", "### Response:"),
    ("<|im_start|>",),
    ("<|im_end|>",),
    ("<|start_header_id|>",),
    ("<|eot_id|>",),
    ("<extra_id_1>",),
    ("[INST]",),
    ("[/INST]",),
    ("<<SYS>>",),
    ("<start_of_turn>",),
    ("<end_of_turn>",),
    ("<|user|>",),
    ("<|assistant|>",),
)
SHORTEST_PROMPT = 10  # characters; "Hi" is answered with "Hi"


def doubts_of_texts(prompt: Sequence[Message], responses: Sequence[str]) -> Iterator[str]:
    """The words of data/doubts that a prompt and what is rated or compared of its responses deserve."""
    if any(map(is_templated, [*(message.content for message in prompt), *responses])):
        yield "templated_text"
    asked = prompt[-1].content.strip() if prompt else ""
    if len(asked) >= SHORTEST_PROMPT and responses and all(text.strip().startswith(asked) for text in responses):
        yield "prompt_in_responses"


def is_templated(text: str) -> bool:
    """Whether it holds the markers of a template, in order."""
    if not ("<" in text or "[" in text or "###" in text or "Human:" in text):
        return False  # nearly all texts, in a tenth of the time
    text = f"\n\n{text}"  # a transcript may begin without them
    return any(_stand_in(text, markers) for markers in TEMPLATES)


def _stand_in(text: str, markers: Sequence[str]) -> bool:
    position = 0
    for marker in markers:
        position = text.find(marker, position)
        if position < 0:
            return False
    return True
