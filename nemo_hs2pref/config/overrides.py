"""Words of the command line for Hydra, in which text stays the text that was typed.

Hydra reads 2024_11_05, 1e5 and true as a number or a truth value wherever they stand; where the schema has text, they
are put into quotes before Hydra sees them. What Hydra cannot read, or would read as something else than text, is
refused with the word as it can be typed.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from antlr4 import CommonTokenStream, InputStream
from antlr4.Token import Token
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser
from omegaconf.errors import GrammarParseError
from omegaconf.grammar_parser import parse

from nemo_hs2pref.config.schema.fields import said_of
from nemo_hs2pref.errors import ConfigError

WORD = re.compile(r"(?P<sign>\+{0,2})(?P<key>[^=]+)=(?P<value>.*)", re.DOTALL)
ESCAPE = re.compile(r"\\[\\()\[\]{}:=, \t]")  # what Hydra's grammar reads as one character
NOT_TEXT = (OverrideLexer.INT, OverrideLexer.FLOAT, OverrideLexer.BOOL, OverrideLexer.NULL)
EXPECTED = {int: "a whole number", float: "a number", bool: "true or false"}


def for_hydra(words: Sequence[str], schema: type, groups: Sequence[str]) -> list[str]:
    """The overrides as Hydra has to be given them.

    Keys that `schema` knows keep their text; names of the configuration groups do too. A key of a mapping whose names
    are the user's (`data.validation.safety=...`) gets the sign with which Hydra takes a new key.
    """
    return [word_for_hydra(word, schema, groups) for word in words]


def word_for_hydra(word: str, schema: type, groups: Sequence[str]) -> str:
    if word.startswith("~"):
        return word
    found = WORD.fullmatch(word)
    if found is None:
        raise ConfigError(f"{word!r}: expected key=value")
    sign, key, value = found.group("sign", "key", "value")
    kinds = [str, NoneType] if key in groups else kinds_of(schema, key)
    refuse_what_quotes_cannot_mend(key, value)
    if str in kinds and value != value.strip(" \t"):  # Hydra would drop the spaces
        raise ConfigError(f"{key}={value}: the text begins or ends with a space; type {typed(key, value)}")
    if str in kinds and value[:1] not in ("'", '"') and ESCAPE.search(value):
        raise ConfigError(
            f"{key}={value}: Hydra takes the backslash out of text without quotes; for the text as it stands type "
            f"{typed(key, value)}"
        )
    if is_open(schema, key) and not value.strip("{} \t"):
        raise ConfigError(f"{word}: takes nothing away, as Hydra adds to what is there; type ~{key}.NAME for each")
    if key.partition(".")[0] == "hydra":
        raise ConfigError(f"unknown key {key}; Hydra's own settings have no use here")
    for token in reversed([*texts_to_quote(word, key, value, kinds)]):  # from the end, so that places stay
        word = f"{word[: token.start]}'{word[token.start : token.stop + 1]}'{word[token.stop + 1 :]}"
    parent = key.rpartition(".")[0]
    if sign and not is_open(schema, parent) and any(get_origin(kind) is dict for kind in kinds_of(schema, parent)):
        raise ConfigError(f"{word}: {parent} takes no new names; give one of conf/ without {sign}")
    return f"++{word}" if not sign and (is_open(schema, key) or is_open(schema, parent)) else word


def kinds_of(schema: type, key: str) -> list[Any]:
    """The types that the value of a dotted key may have, NoneType among them; empty for an unknown key."""
    kinds: list[Any] = [schema]
    for name in key.split("."):
        below: list[Any] = []
        for kind in kinds:
            if is_dataclass(kind):
                below += [part for item in fields(kind) if item.name == name for part in parts_of(item.type)]
            elif get_origin(kind) is dict:
                below.append(get_args(kind)[1])
        kinds = below
    return kinds


def parts_of(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def is_open(schema: type, key: str) -> bool:
    """A mapping whose names are the user's."""
    parent, _, name = key.rpartition(".")
    sections = kinds_of(schema, parent) if parent else [schema]
    found = [item for kind in sections if is_dataclass(kind) for item in fields(kind) if item.name == name]
    return any(said_of(item).is_open for item in found)


def refuse_what_quotes_cannot_mend(key: str, value: str) -> None:
    """A reference that OmegaConf cannot read, in quotes or not."""
    if "${" not in value:
        return
    try:
        parse(value)
    except GrammarParseError:
        told = "${ begins a reference to another key or to a variable, and this is none; leave it out"
        raise ConfigError(f"{key}={value}: {told}") from None


def texts_to_quote(word: str, key: str, value: str, kinds: Sequence[Any]) -> Iterator[Token]:
    """Where in `word` something is text by its key's type and a number, a truth value or nothing by Hydra's grammar."""
    try:
        OverridesParser.create().parse_override(word)
        context: Any = parser_of(word).override().value()
    except HydraException as error:
        raise unreadable(key, value, kinds, str(error)) from None
    if context is None:  # `key=`
        return
    if context.element() is None:
        raise unreadable(key, value, kinds, "the value has a comma")
    if context.getText() == "null" and str in kinds and NoneType not in kinds:
        raise ConfigError(f"{key}={value}: expected text, not null; for the text type {typed(key, value)}")
    try:
        yield from texts_in(context.element(), kinds)
    except TypeError as error:
        raise unreadable(key, value, kinds, str(error)) from None


def parser_of(word: str) -> OverrideParser:
    return OverrideParser(CommonTokenStream(OverrideLexer(InputStream(word))))


def texts_in(element: Any, kinds: Sequence[Any]) -> Iterator[Token]:
    """As texts_to_quote, of one element of Hydra's grammar; TypeError where it can be none of `kinds`."""
    origins = {get_origin(kind): kind for kind in kinds}
    if primitive := element.primitive():
        token = lone_token(primitive)
        if str in kinds and token and token.text != "null":
            yield token
        elif list in origins and not primitive.INTERPOLATION():
            raise TypeError("it is no list")
    elif (items := element.listContainer()) and list in origins:
        for item in items.element():
            yield from texts_in(item, get_args(origins[list]))
    elif (pairs := element.dictContainer()) and dict in origins:
        for pair in pairs.dictKeyValuePair():
            yield from texts_in(pair.element(), get_args(origins[dict])[1:])
    elif str in kinds:
        raise TypeError("Hydra reads it as something else than text")


def lone_token(primitive: Any) -> Token | None:
    """The one token of a primitive that Hydra makes something else than text of."""
    tokens = [*primitive.getChildren()]
    return tokens[0].symbol if len(tokens) == 1 and tokens[0].symbol.type in NOT_TEXT else None


def unreadable(key: str, value: str, kinds: Sequence[Any], reason: str) -> ConfigError:
    """A sentence with the word to type, where the key's type tells one."""
    if str in kinds:
        return ConfigError(f"{key}={value}: without quotes this is no text for Hydra; type {typed(key, value)}")
    if any(get_origin(kind) is list for kind in kinds):
        return ConfigError(f"{key}={value}: expected a list, each text of it in quotes; type {typed_list(key, value)}")
    if expected := next((EXPECTED[kind] for kind in kinds if kind in EXPECTED), None):
        return ConfigError(f"{key}={value}: expected {expected}")
    told = reason.partition("\nSee ")[0].partition("\n")[0].removeprefix("LexerNoViableAltException: ")
    return ConfigError(f"{key}={value}: Hydra cannot read it ({told})")


def typed(key: str, text: str) -> str:
    """`key=text` as it is typed at a shell, for any text."""
    return shlex.quote(f"{key}={quoted(text)}")


def typed_list(key: str, value: str) -> str:
    """The same for a list, which a person has tried to give without quotes."""
    texts = [part.strip(" \t\"'") for part in value.strip(" \t[]").split(",")]
    return shlex.quote(f"{key}=[{','.join(map(quoted, texts))}]")


def quoted(text: str) -> str:
    """Text in Hydra's quotes; an interpolation in it stays one."""
    return QuotedString(text, Quote.double).with_quotes()
