"""A file of rows under a name that ends in .jsonl, whatever it holds: it is read, or one sentence says what it is."""

import gzip
import io
import json
import tarfile
import tracemalloc
import zipfile
from decimal import Decimal
from itertools import islice

import pyarrow
import pytest
from pyarrow import feather, parquet

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.preparation.prepare import Options, prepare
from nemo_hs2pref.data.reading.row_files import rows_of
from nemo_hs2pref.data.records import read_pairs
from nemo_hs2pref.errors import DataError

ROWS = [
    {"id": f"p{number}", "prompt": f"Is {number} naïve 雪\u2028?", "chosen": "No.", "rejected": "Yes.", "strength": 2}
    for number in range(90, 94)
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
ARRAY = json.dumps(ROWS, ensure_ascii=False)


def table_bytes(write) -> bytes:
    sink = io.BytesIO()
    write(pyarrow.Table.from_pylist(ROWS), sink)
    return sink.getvalue()


def archive_bytes() -> tuple[bytes, bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("rows.jsonl", LINES)
    with tarfile.open(fileobj=tarred, mode="w") as file:
        entry = tarfile.TarInfo("rows.jsonl")
        entry.size = len(LINES.encode())
        file.addfile(entry, io.BytesIO(LINES.encode()))
    return zipped.getvalue(), tarred.getvalue()


ZIP, TAR = archive_bytes()


@pytest.mark.parametrize(
    "content",
    [
        LINES.encode(),
        LINES.replace("\n", "\r\n").encode("utf-8-sig"),
        gzip.compress(LINES.encode()),
        LINES.encode("utf-16"),
        LINES.encode("utf-16-be"),
        gzip.compress(LINES.encode("utf-32")),
        ARRAY.encode(),
        b"\xef\xbb\xbf\n" + json.dumps(ROWS, indent=2).encode(),
        gzip.compress(ARRAY.encode("utf-16-le")),
        table_bytes(parquet.write_table),
    ],
    ids=[
        "lines",
        "crlf-bom",
        "gzip",
        "utf16",
        "utf16-be",
        "gzip-utf32",
        "array",
        "pretty",
        "gzip-utf16-array",
        "parquet",
    ],
)
def test_what_can_be_read_is_read_by_every_command(tmp_path, content):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(content)
    assert [row for _, row in rows_of(path)] == ROWS
    assert len(read_pairs(path)) == len(ROWS)  # training, score and evaluate
    assert prepare(str(path), tmp_path / "out", Options("pairs"))["inputs"]["rows"]["rows"] == len(ROWS)
    assert main(["data", "inspect", str(path), "--no-plot"]) == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x28\xb5\x2f\xfd\x00", "is compressed with zstd, not JSON lines; unpack it with `zstd -d`"),
        (b"BZh91AY", "is compressed with bzip2"),
        (ZIP, "is a zip archive"),
        (TAR, "is a tar archive"),
        (gzip.compress(TAR), "is a tar archive"),
        (table_bytes(feather.write_feather), "is an Arrow file"),
        (b"\n<!DOCTYPE html>\n<html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "is a Git LFS pointer .* `git lfs pull`"),
        (b"id,prompt,chosen,rejected\n1,a,b,c\n", "looks like CSV, with the columns id,prompt,chosen,rejected"),
        (b'"id"\t"prompt"\r\n1\ta\r\n', "looks like CSV"),
        (json.dumps(ROWS[0], indent=2).encode(), "is a JSON object over several lines"),
        (b'{"data": [\n{}\n]}\n', "is a JSON object over several lines"),
        (LINES.replace("\n", "\r").encode(), "has line ends of a lone CR"),
        (bytes(10_000), "begins with NUL bytes"),
        (ARRAY[:-20].encode(), "is a JSON array that breaks off or is malformed after row 3"),
        (LINES.encode("utf-16")[:-3], "is not whole in utf-16"),
        (gzip.compress(LINES.encode())[:-9], "broken gzip file after line"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_sentence(tmp_path, capsys, content, told):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^{path}: {told}"):
        list(rows_of(path))
    out = str(tmp_path / "out")
    for command in (
        ["data", "prepare", "--format", "pairs", "--source", str(path), "--out", out, "--on-bad-row", "skip"],
        ["score", "--model", "absent", "--input", str(path), "--output", out],
        ["evaluate", "preferences", "--scores", "absent", "--input", str(path), "--out", out],
    ):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and str(path) in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"a": 1,}', "a comma before the closing bracket, at character"),
        ("{'a': 1}", "single quotes at character 2"),
        ('{"a": "b\t"}', "Invalid control character at character 9"),
        ('{"a": 1} {"a": 2}', "something follows the object, from character 10"),
        ('{"a": "\0"}', "holds a NUL byte"),
        ('{"a": 1, "a": 2}', 'the key "a" stands twice'),
        ('{"a": 1', "not JSON (the line breaks off)"),
    ],
)
def test_fault_of_a_line_is_said_in_plain_words(tmp_path, line, fault):
    (tmp_path / "rows.jsonl").write_text(f'{{"a": 0}}\n{line}\n')
    first, (number, found) = rows_of(tmp_path / "rows.jsonl")
    assert first == (1, {"a": 0}) and number == 2
    assert isinstance(found, DataError) and fault in str(found)


def test_lone_cr_is_told_also_behind_a_long_first_row(tmp_path):
    line = json.dumps({"a": "x" * 5000})
    (tmp_path / "rows.jsonl").write_bytes(f"{line}\r{line}\r".encode())
    ((_, fault),) = rows_of(tmp_path / "rows.jsonl")
    assert "its lines end in a lone CR" in str(fault)


def test_folder_in_the_place_of_a_file_is_told(tmp_path, capsys):
    assert main(["score", "--model", "absent", "--input", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert f"{tmp_path}: is a folder; name a file of rows in it" in capsys.readouterr().err


def test_nulls_and_whole_floats_of_tables_are_absent_and_integers(tmp_path, shared_data):
    inputs = shared_data / "inputs-that-failed"
    first, second, third = read_pairs(inputs / "q01_struct_nulls.parquet", require_strength=False)
    assert (first.chosen_attributes, second.strength, third.chosen_attributes) == ({"helpfulness": 3}, None, {})
    assert [pair.strength for pair in read_pairs(inputs / "q02_float_strength.parquet", require_strength=False)] == [
        2,
        None,
    ]
    filled = {"helpfulness": None, "correctness": None}
    path = tmp_path / "filled.jsonl"
    path.write_text(json.dumps({**ROWS[0], "id": 7.0, "chosen_attributes": filled, "rejected_attributes": filled}))
    (pair,) = read_pairs(path)
    assert (pair.id, pair.chosen_attributes) == ("7", {})


def test_memory_does_not_grow_with_an_array_or_with_utf16(tmp_path):
    row = {"prompt": "x" * 1000}
    for name, content in (
        ("array", json.dumps([row] * 20_000).encode()),
        ("utf16", (json.dumps(row) + "\n").encode("utf-16-le") * 20_000),
    ):
        (tmp_path / name).write_bytes(content)
        tracemalloc.start()
        assert sum(1 for _ in rows_of(tmp_path / name)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 3e6
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("before", [LINES, ARRAY[:-1] + ","], ids=["lines", "array"])
def test_row_of_many_bytes_that_is_packed_small_is_refused_before_it_is_held(tmp_path, before, encoding):
    bomb = tmp_path / "bomb.jsonl"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write((before + '{"prompt": "').encode(encoding))
        for _ in range(48):
            file.write(("x" * (1 << 20)).encode(encoding.replace("16", "16-le")))
    assert bomb.stat().st_size < 4 << 20
    tracemalloc.start()
    rows = rows_of(bomb)
    assert [row for _, row in islice(rows, len(ROWS))] == ROWS
    with pytest.raises(DataError, match=rf"^{bomb}:{len(ROWS) + 1}: the row has more than 33,554,432 bytes"):
        next(rows)
    assert tracemalloc.get_traced_memory()[1] < 128 << 20
    tracemalloc.stop()


def test_columns_of_one_name_are_refused(tmp_path):
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["prompt", "prompt"])
    parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"rows\.parquet: several columns have the name 'prompt'; rename them"):
        list(rows_of(tmp_path / "rows.parquet"))


def test_what_a_table_has_and_json_has_not_becomes_what_json_has(tmp_path):
    image = b"\xff\xd8"
    columns = {
        "whole": pyarrow.array([Decimal("3.00")]),
        "part": pyarrow.array([Decimal("0.25")]),
        "text": pyarrow.array(["naïve 雪".encode()]),
        "image": pyarrow.array([image]),
        "none": pyarrow.array([float("nan")]),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "rows.parquet")
    ((_, row),) = rows_of(tmp_path / "rows.parquet")
    assert row == {"whole": 3, "part": 0.25, "text": "naïve 雪", "image": image, "none": None}
    assert type(row["whole"]) is int
