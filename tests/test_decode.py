"""What a file holds, as its type: all that does not fit is one sentence."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.decode import from_file, from_json, from_plain
from nemo_hs2pref.errors import CheckpointError, HS2PrefError


class Listed(TypedDict):
    bytes: int


@dataclass(frozen=True)
class Inner:
    name: str
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    step: int
    phase: Literal["training", "saving"]
    inner: Inner | None = None
    files: dict[str, Listed] = field(default_factory=dict)
    rest: Mapping[str, Any] = field(default_factory=dict)
    best: list[Inner] = field(default_factory=list)
    is_due: bool = False

    def __post_init__(self) -> None:
        if self.step < 0:
            raise ValueError("has a step below 0")


def test_a_document_becomes_its_type_and_what_it_does_not_know_is_left_out() -> None:
    text = """{"step": 3, "phase": "saving", "inner": {"name": "a", "rate": 1}, "files": {"x/y": {"bytes": 4}},
               "rest": {"a": [1, null]}, "best": [{"name": "é"}], "is_due": true, "of_another_version": 1}"""
    made = from_json(Outer, text, "f")
    assert made == Outer(3, "saving", Inner("a", 1.0), {"x/y": {"bytes": 4}}, {"a": [1, None]}, [Inner("é")], True)
    assert type(made.inner and made.inner.rate) is float


def test_a_document_that_is_nested_too_deep_is_one_sentence() -> None:
    with pytest.raises(HS2PrefError, match=r"^f: not JSON \(maximum recursion depth exceeded"):
        from_json(Outer, "[" * 100_000, "f")


START = '{"step": 1, "phase": "saving", '


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON (Expecting value: line 1 column 1 (char 0))"),
        ("[]", "the document is a list, expected an object"),
        ("{}", "the document has no 'step'"),
        ('{"step": "RUN[$(touch x)]0", "phase": "saving"}', "'step' is 'RUN[$(touch x)]0', expected a whole number"),
        ('{"step": true, "phase": "saving"}', "'step' is true, expected a whole number"),
        ('{"step": 1.0, "phase": "saving"}', "'step' is 1.0, expected a whole number"),
        ('{"step": -1, "phase": "saving"}', "the document has a step below 0"),
        ('{"step": 1, "phase": "gone"}', "'phase' is 'gone', expected 'training' or 'saving'"),
        (START + '"inner": 2}', "'inner' is 2, expected an object or null"),
        (START + '"inner": {"name": null}}', "'inner.name' is null, expected text"),
        (START + '"inner": {"name": "", "rate": NaN}}', "'inner.rate' is nan, expected a number"),
        (START + '"inner": {"name": "", "rate": 1e999}}', "'inner.rate' is inf, expected a number"),
        (START + '"best": [{"name": "a"}, 1]}', "'best.1' is 1, expected an object"),
        (START + '"files": {"\\u001b[2J": {}}}', "'files.\\x1b[2J' has no 'bytes'"),
        (START + '"rest": {"\\ud800": 1}}', "'rest' is '\\ud800', which is no Unicode text"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(CheckpointError) as refusal:
        from_json(Outer, text, "f", CheckpointError)
    assert str(refusal.value) == f"f: {said}"


def test_a_file_that_is_no_text_or_not_there_is_one_sentence(tmp_path) -> None:
    (tmp_path / "f").write_bytes(b'"\xff"')
    with pytest.raises(HS2PrefError, match=r"f: byte 1 is not UTF-8$"):
        from_file(str, tmp_path / "f")
    with pytest.raises(HS2PrefError, match=r"g: cannot be read \(No such file or directory\)$"):
        from_file(str, tmp_path / "g")
    with pytest.raises(HS2PrefError, match=r": cannot be read \(Is a directory\)$"):
        from_file(str, tmp_path)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
keys = st.sampled_from([*Outer.__dataclass_fields__, "name", "rate", "bytes"])
whole = {"step": 1, "phase": "saving", "inner": {"name": "a"}, "best": [{"name": "b"}], "files": {"f": {"bytes": 1}}}


@given(st.dictionaries(keys, plain | st.dictionaries(keys, plain, max_size=3), max_size=3))
def test_any_document_is_the_type_or_one_sentence(changes: dict[str, object]) -> None:
    try:
        made = from_plain(Outer, whole | changes, "f")
    except HS2PrefError as refusal:
        assert str(refusal).isprintable()
    else:
        assert from_plain(Outer, asdict(made), "f") == made


def test_a_key_that_stands_twice_is_refused() -> None:
    with pytest.raises(HS2PrefError, match=r'^f: the key "step" stands twice in one object'):
        from_json(Outer, '{"step": 1, "phase": "saving", "step": 2}', "f")
