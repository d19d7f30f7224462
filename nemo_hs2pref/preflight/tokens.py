"""The text that the model will read: tokenizer, template and vocabulary, as the checkpoint has them."""

from collections.abc import Iterator
from pathlib import Path

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.data.preparation.length import load_tokenizer
from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates.tokens import make_tokenize
from nemo_hs2pref.preflight.check import Finding, failed, ok, warning
from nemo_hs2pref.preflight.stored import shapes_of

EMBEDDING = "model.embedding.word_embeddings.weight"
SAMPLE = (Message("user", "Name a prime number."), Message("assistant", "Seven is one."))


def look_at_template(config: RunConfig) -> Iterator[Finding]:
    """A reward head was trained on one template; another one gives it texts that it never saw."""
    base = Path(config.pretrained_checkpoint.restore_from_path)
    head = opening.read_config(base).get("head")
    given = config.data.template
    if head and head["template"] != given:
        text = f"data.template={given}, but the reward model {base} was trained on {head['template']}"
        hint = f"data.template={head['template']}"
        yield failed(text, hint) if config.continues_head else warning(text, f"{hint}, or a base model")
    yield ok(
        f"data.template={given}" + (", as the checkpoint's head" if head else ", the checkpoint has no reward head")
    )


def look_at_tokenizer(config: RunConfig) -> Iterator[Finding]:
    """It loads, takes the template, and gives no number that the embedding lacks."""
    base = Path(config.pretrained_checkpoint.restore_from_path)
    tokenizer = load_tokenizer(str(opening.opened(base) / layout.TOKENIZER))
    (row,) = make_tokenize(tokenizer, config.data.template)([SAMPLE])
    size, rows = len(tokenizer), shapes_of(base)[EMBEDDING][0]
    if size > rows:
        hint = "the tokenizer is another model's: copy that of this one"
        yield failed(f"the tokenizer has {size} tokens, the embedding {rows} rows", hint)
    if not row or max(row) >= rows:
        yield failed(
            f"a short conversation becomes {len(row)} tokens up to number {max(row, default=0)}", "check data.template"
        )
    yield ok(f"{size} tokens, {rows} rows of the embedding; a short conversation becomes {len(row)} tokens")
