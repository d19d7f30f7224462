"""The project's own files: what is accepted, what is refused, and how the fault is named."""

import gzip
import json
from dataclasses import FrozenInstanceError

import pytest

from nemo_hs2pref.data.records import (
    ATTRIBUTES,
    Conversation,
    Message,
    PreferencePair,
    RatedResponse,
    read_jsonl,
    read_pairs,
    read_ratings,
    read_rows,
    write_jsonl,
)
from nemo_hs2pref.errors import DataError

QUESTION = Message("user", "Why is the sky blue?")
ANSWER = Message("assistant", "Air scatters blue light most.")
PAIR = {"id": "a", "prompt": "Why?", "chosen": "Because.", "rejected": "No.", "strength": 2}
ROW = {"id": "a", "messages": [QUESTION.to_json(), ANSWER.to_json()]}
RATING = {**ROW, "attributes": {"helpfulness": 3, "verbosity": 1.5}}


@pytest.fixture
def file(tmp_path):
    """A function that writes lines, given as text or as objects, and returns the path."""

    def write(*lines):
        path = tmp_path / "file.jsonl"
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        return path

    return write


# Lines


def test_lines_are_numbered_as_an_editor_does_and_blank_ones_skipped(file):
    assert list(read_jsonl(file({"a": 1}, "", {"b": 2}))) == [(1, {"a": 1}), (3, {"b": 2})]


def test_gzipped_and_plain_files_read_alike(tmp_path):
    rows = [{"text": "naïve 雪"}, {"text": "line\nbreak\u2028"}]
    for name in ("rows.jsonl", "rows.jsonl.gz"):
        write_jsonl(tmp_path / name, rows)
        assert [row for _, row in read_jsonl(tmp_path / name)] == rows
    packed = (tmp_path / "rows.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "rows.jsonl").read_bytes()
    assert packed[4:8] == bytes(4)  # no time stamp: equal rows give equal bytes


@pytest.mark.parametrize("line", ["{", "[1]", "nothing", "1" * 5000, "[" * 100_000])
def test_line_that_is_no_object_is_named(file, line):
    with pytest.raises(DataError, match=r"file\.jsonl:2: (not JSON|expected a JSON object)"):
        list(read_jsonl(file({}, line)))


def test_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.jsonl: cannot be read \(No such file"):
        list(read_jsonl(tmp_path / "absent.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b'{}\n{"a": "\xe9"}\n')
    with pytest.raises(DataError, match=r"latin\.jsonl:2: byte 7 of the line is not UTF-8"):
        list(read_jsonl(tmp_path / "latin.jsonl"))
    (tmp_path / "half.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-12])
    with pytest.raises(DataError, match=r"half\.jsonl\.gz: broken gzip file"):
        list(read_jsonl(tmp_path / "half.jsonl.gz"))


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"a": 1}])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_jsonl(path, [{"a": 2}, {"a": float("nan")}])
    assert path.read_text() == '{"a": 1}\n'
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"folder: cannot be written \(Is a directory\)"):
        write_jsonl(tmp_path / "folder", [{"a": 1}])
    assert sorted(tmp_path.iterdir()) == [tmp_path / "folder", path]


# Records


def test_slots_are_those_of_released_checkpoints():
    assert len(ATTRIBUTES) == 9
    assert ATTRIBUTES.index("helpfulness") == 4
    assert ATTRIBUTES[-1] == "verbosity"


def test_written_records_read_back_equal(tmp_path):
    system = Message("system", "")
    pairs = [
        PreferencePair("p1", (QUESTION,), "yes", "no", 3, "chat"),
        PreferencePair("p2", (system, QUESTION, ANSWER, QUESTION), "yes", "no", 1),
        PreferencePair("p3", (QUESTION,), "yes", "no", 1, None, {"helpfulness": 3}, {"quality": 0.5, "verbosity": 2}),
    ]
    ratings = [RatedResponse("r", (system, QUESTION, ANSWER), {"helpfulness": 4.0})]
    rows = [Conversation("c", (QUESTION, ANSWER))]
    for name, records, read in (("p", pairs, read_pairs), ("r", ratings, read_ratings), ("c", rows, read_rows)):
        write_jsonl(tmp_path / name, (record.to_json() for record in records))
        assert read(tmp_path / name) == records


def test_prompt_may_be_text_and_an_id_a_number(file):
    (pair,) = read_pairs(file({**PAIR, "id": 7}))
    assert pair == PreferencePair("7", (Message("user", "Why?"),), "Because.", "No.", 2)


def test_sides_of_a_pair_carry_the_ids_of_their_scores():
    chosen, rejected = PreferencePair("p", (QUESTION,), "yes", "no").conversations()
    assert chosen == Conversation("p:chosen", (QUESTION, Message("assistant", "yes")))
    assert rejected == Conversation("p:rejected", (QUESTION, Message("assistant", "no")))


def test_strength_may_be_absent_where_the_loss_ignores_it(file):
    without = {key: value for key, value in PAIR.items() if key != "strength"}
    path = file(without, {**without, "id": "b", "strength": None}, {**without, "id": "c", "strength": 0})
    assert [pair.strength for pair in read_pairs(path, require_strength=False)] == [None, None, 0]
    with pytest.raises(
        DataError, match=r'jsonl:1: no "strength"; the margin and scaled losses need 1, 2 or 3'
    ) as error:
        read_pairs(path)
    assert "jsonl:2: " in str(error.value) and "jsonl:3: " not in str(error.value)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"strength": 4}, '"strength" is 4; expected an integer 0 to 3'),
        ({"strength": True}, '"strength" is True'),
        ({"strength": 2.5}, '"strength" is 2.5'),
        ({"strength": float("nan")}, '"strength" is nan'),
        ({"chosen": " \n"}, '"chosen" is empty'),
        ({"rejected": None}, '"rejected" is None; expected a string'),
        ({"rejected": "\ud800"}, '"rejected" holds half of a surrogate pair'),
        ({"id": ""}, '"id" is empty'),
        ({"subset": 3}, '"subset" is 3'),
        ({"prompt": 3}, '"prompt" is 3; expected text or a list'),
        ({"prompt": ""}, '"prompt": message 1, of the user, is empty'),
        ({"prompt": []}, '"prompt": the last message must have the role "user"'),
        ({"prompt": ["hello"]}, '"prompt" is .* expected text or a list'),
        ({"prompt": [{"role": "user"}]}, 'no "content"; the keys are role'),
        ({"prompt": [{"role": "human", "content": "x"}]}, "\"role\" is 'human'; expected one of system, user"),
        ({"prompt": ROW["messages"]}, '"prompt": the last message must have the role "user"'),
        ({"prompt": ROW["messages"][:1] * 2}, 'message 2 has the role "user", expected "assistant"'),
        ({"prompt": [QUESTION.to_json(), {"role": "system", "content": "x"}]}, 'message 2 has the role "system"'),
    ],
)
def test_faulty_pair_is_refused_by_key(file, change, fault):
    with pytest.raises(DataError, match=rf"file\.jsonl:1: .*{fault}"):
        read_pairs(file({**PAIR, **change}))


def test_pair_without_ratings_is_written_without_their_keys():
    assert set(PreferencePair("p", (QUESTION,), "yes", "no").to_json()) == {"id", "prompt", "chosen", "rejected"}


def test_pair_with_ratings_is_hashable_and_frozen():
    pair = PreferencePair("p", (QUESTION,), "yes", "no", 1, None, {"helpfulness": 3}, {"helpfulness": 1})
    assert pair in {pair}
    with pytest.raises(FrozenInstanceError):
        pair.chosen_attributes = {}


@pytest.mark.parametrize("key", ["chosen_attributes", "rejected_attributes"])
def test_ratings_of_one_side_alone_are_refused(file, key):
    with pytest.raises(DataError, match=rf'"{key}" stands alone; give "chosen_attributes" and "rejected_attributes"'):
        read_pairs(file({**PAIR, key: {"helpfulness": 3}}))


@pytest.mark.parametrize("key", ["chosen_attributes", "rejected_attributes"])
def test_faulty_ratings_of_a_pair_are_refused_by_key(file, key):
    rated = {**PAIR, "chosen_attributes": {"helpfulness": 3}, "rejected_attributes": {"helpfulness": 1}}
    with pytest.raises(DataError, match=rf"\"{key}\" has the unknown name 'helpful'"):
        read_pairs(file({**rated, key: {"helpful": 3}}))
    with pytest.raises(DataError, match=f'"{key}" has helpfulness = nan; expected a finite number'):
        read_pairs(file({**rated, key: {"helpfulness": float("nan")}}))
    with pytest.raises(DataError, match=f'"{key}" is {{}}; expected an object'):
        read_pairs(file({**rated, key: {}}))


@pytest.mark.parametrize(
    ("attributes", "fault"),
    [
        ({}, "expected an object"),
        ([3], "expected an object"),
        ({"helpful": 3}, "unknown name 'helpful'; the names are quality, "),
        ({"helpfulness": "3"}, "helpfulness = '3'; expected a finite number"),
        ({"helpfulness": float("nan")}, "helpfulness = nan; expected a finite number"),
        ({"helpfulness": False}, "helpfulness = False"),
    ],
)
def test_faulty_attributes_are_refused(file, attributes, fault):
    with pytest.raises(DataError, match=fault):
        read_ratings(file({**RATING, "attributes": attributes}))


def test_row_to_score_ends_with_the_response(file):
    with pytest.raises(DataError, match='the last message must have the role "assistant"'):
        read_rows(file({**ROW, "messages": ROW["messages"][:1]}))


def test_missing_key_is_named_with_the_keys_that_are_there(file):
    with pytest.raises(DataError, match=r'file\.jsonl:1: no "messages"; the keys are id'):
        read_rows(file({"id": "a"}))


def test_id_that_occurs_twice_is_refused_with_both_lines(file):
    with pytest.raises(DataError, match=r"file\.jsonl:3: \"id\" 'a' stands in line 1 already"):
        read_pairs(file(PAIR, {**PAIR, "id": "b"}, PAIR))


def test_all_faults_of_a_file_are_reported_together(file):
    rows = [{**PAIR, "id": str(number), "strength": 9} for number in range(25)]
    with pytest.raises(DataError) as error:
        read_pairs(file(*rows, "{"))
    lines = str(error.value).splitlines()
    assert lines[0] == "26 rows cannot be used:"
    assert lines[1].endswith('file.jsonl:1: "strength" is 9; expected an integer 0 to 3')
    assert len(lines) == 22 and lines[-1] == "  and 6 more"
