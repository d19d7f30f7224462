"""Small files that claim much: refused in one sentence at the door, at no cost."""

import io
import json
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from small_llama import llama_config

from nemo_hs2pref.checkpoint import opening
from nemo_hs2pref.checkpoint.families.architecture import refuse_unsupported
from nemo_hs2pref.checkpoint.importers import archive
from nemo_hs2pref.checkpoint.safetensors.header import read_header
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.yaml_files import read_yaml

LAUGHS = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 30))
MOST_MEMORY = 64 * 2**20


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "its aliases stand for more than 100,000 values, or for themselves"),
        (MERGES, "a merge key (<<)"),
        ("a: &a [*a]", "its aliases stand for more than 100,000 values, or for themselves"),
        ("[" * 100_000, "maximum recursion depth exceeded"),
        ("a: " + "1:" * 100_000 + "1", "a number of too many digits"),
        (
            "a: !!python/object/apply:os.system [ls]",
            "the tag tag:yaml.org,2002:python/object/apply:os.system, expected plain values",
        ),
        ("a: 1\na: 2", "the key a is there twice"),
    ],
)
def test_yaml_that_is_no_configuration_is_one_sentence(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "model_config.yaml"
    file.write_text(text)
    tracemalloc.start()
    with pytest.raises(CheckpointError) as caught:
        read_yaml(file, CheckpointError)
    assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    tracemalloc.stop()
    assert str(caught.value).startswith(str(file)) and f": not plain YAML ({reason}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_yaml_that_is_no_mapping_or_too_long_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "model_config.yaml"
    for text, told in (("- a", "holds list, expected keys with values"), ("a: " + "x" * 2**18, "has 262,147 bytes")):
        file.write_text(text)
        with pytest.raises(CheckpointError, match=told):
            read_yaml(file, CheckpointError)


def test_yaml_is_read_as_omegaconf_reads_it_and_nothing_is_interpolated(tmp_path: Path) -> None:
    file = tmp_path / "model_config.yaml"
    file.write_text("a: 1e-5\nb: 2020-01-01\nc: ${oc.env:HOME}\nd: [yes, null, &x {e: 1}]\nf: *x\n3: .inf\n")
    expected = {"a": 1e-5, "b": "2020-01-01", "c": "${oc.env:HOME}", "d": [True, None, {"e": 1}], "f": {"e": 1}}
    assert read_yaml(file, CheckpointError) == {**expected, "3": float("inf")}


def safetensors(file: Path, header: Any) -> None:
    content = json.dumps(header).encode()
    file.write_bytes(len(content).to_bytes(8, "little") + content)


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [2**62] * 100_000, "data_offsets": [0, 0]},  # its product has six million digits
        {"shape": [10**400], "data_offsets": [0, 0]},
        {"shape": [-1, -1], "data_offsets": [0, 4]},
        {"shape": [True], "data_offsets": [0, 4]},
        {"shape": [1.0], "data_offsets": [0, 4]},
    ],
)
def test_safetensors_header_with_impossible_shapes_is_one_sentence(entry: dict[str, Any], tmp_path: Path) -> None:
    safetensors(tmp_path / "model.safetensors", {"weight": {"dtype": "F32", **entry}})
    with pytest.raises(CheckpointError, match=r"no whole safetensors file \(a shape of .{0,120}\); copy"):
        read_header(tmp_path / "model.safetensors")


def test_safetensors_header_that_is_nested_or_claims_more_than_the_file_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    for content in (b"[" * 100_000, b'{"a":' * 100_000):
        file.write_bytes(len(content).to_bytes(8, "little") + content)
        with pytest.raises(CheckpointError, match="no whole safetensors file"):
            read_header(file)
    file.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="its header has 1099511627776 bytes and the file 10"):
        read_header(file)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"num_hidden_layers": 10**9}, r"here: num_hidden_layers is 1e\+09; expected 1 to 1,000"),
        ({"vocab_size": 10**30}, "here: vocab_size is 1e"),
        ({"num_hidden_layers": 0}, "here: num_hidden_layers is 0; expected 1 to 1,000"),
    ],
)
def test_size_that_no_llama_has_is_refused_before_names_are_made_of_it(change: dict[str, Any], told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        refuse_unsupported(llama_config(**change), "here")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("num_layers: 1000000000\n", r"num_layers is 1e\+09; expected 1 to 1,000"),
        ("num_layers: many\n", "'num_layers' is 'many', expected a whole number"),
        ("num_layers: 2\nhead: [a]\n", "'head' is a list, expected an object or null"),
        ("num_layers: 2\nhead: {attributes: [a], bias: 1}\n", "'head' has no 'reward_weights'"),
        ("num_layers: 2\ntokenizer: text\n", "'tokenizer' is 'text', expected an object or null"),
    ],
)
def test_configuration_of_other_types_is_refused_where_it_is_read(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "model_weights").mkdir()
    (tmp_path / "model_weights" / "metadata.json").write_text("{}")
    (tmp_path / "model_config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=told) as caught:
        opening.read_config(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/model_config.yaml: ")


def test_manifest_of_other_types_is_refused_where_it_is_read(tmp_path: Path) -> None:
    for content, told in (
        ("[]", "the document is a list"),
        ('{"step": "4"}', "'step' is '4', expected a whole number or null"),
        ('{"run": {"data": {"dir": 3}}}', "'run.data.dir' is 3, expected text or null"),
        ("{" * 100_000, "not JSON"),
    ):
        (tmp_path / "hs2pref.json").write_text(content)
        with pytest.raises(CheckpointError, match=told):
            opening.read_manifest(tmp_path)


def plain_archive(file: Path, *names: str, size: int = 3) -> bytearray:
    with tarfile.open(file, "w:") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(b"a" * size))
    return bytearray(file.read_bytes())


@pytest.mark.parametrize("claimed", [b"77777777777\0", b"\x80" + (1 << 62).to_bytes(11, "big"), b"\x80" + b"\xff" * 11])
def test_member_that_claims_more_than_the_archive_has_is_refused(claimed: bytes, tmp_path: Path) -> None:
    data = plain_archive(tmp_path / "model.nemo", "model_config.yaml")
    data[124:136], data[148:156] = claimed, b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (tmp_path / "model.nemo").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.nemo: (member 'model_config\.yaml' claims|not a plain \.nemo)"):
        opening.read_config(tmp_path / "model.nemo")


def test_archive_of_more_than_a_configuration_and_a_tokenizer_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_archive(tmp_path / "model.nemo", "model_config.yaml", "tokenizer.json", "model_weights/metadata.json")
    monkeypatch.setattr(archive, "MOST_BYTES", 8)
    with pytest.raises(CheckpointError, match="3 files of 9 bytes beside the weights, expected a configuration and"):
        opening.read_config(tmp_path / "model.nemo")
