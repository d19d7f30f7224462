"""YAML of others is data: nothing in it is looked up, and no object is built."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from nemo_hs2pref.errors import CheckpointError, DataError
from nemo_hs2pref.yaml_files import dumped, read_yaml

LAUGHS = "\n".join(["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", *(
    f"a{i}: &a{i} [{', '.join(10 * [f'*a{i - 1}'])}]" for i in range(1, 9)
)])  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a: 1\nb: !!python/object/apply:pathlib.PosixPath [x]",
            ":2: not plain YAML (the tag tag:yaml.org,2002:python",
        ),
        ("a: !env HOME", ":1: not plain YAML (the tag !env, expected plain values)"),
        ("a: 1\na: 2", ":2: not plain YAML (the key a is there twice)"),
        ("a: [", "not plain YAML"),
        ("a: \x00", "not plain YAML"),
        ("a: \xff", "not plain YAML"),
        ("- 1", "holds list, expected keys with values"),
        ("", "holds NoneType, expected keys with values"),
        ("? [1]\n: 2", "not plain YAML"),
        ("a: " + 5000 * "[", "not plain YAML"),
        ("a: &a [*a]", "its aliases stand for more than 100,000 values, or for themselves"),
        (LAUGHS, "its aliases stand for more than 100,000 values"),
    ],
)
def test_what_is_not_plain_is_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(DataError) as caught:
        read_yaml(file, DataError)
    assert str(caught.value).startswith(str(file)) and said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plain_values_are_what_omegaconf_reads_and_what_is_written_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "a: 1e-5\nb: 1.0e-05\nc: 2.2.1\nd: {e: [true, null, 'x']}\nf: 'yes'\n7: g\nh: &h [1]\ni: *h\nj: '1e5'\n"
    )
    read = read_yaml(file, DataError)
    assert read == {str(key): value for key, value in OmegaConf.to_container(OmegaConf.load(file)).items()}  # pyright: ignore
    value: dict[str, Any] = read | {"k": "2026-12-01", "l": "${oc.env:HOME}", "m": "é\u202e\n", "n": (1, 2)}
    file.write_text(dumped(value))
    assert read_yaml(file, DataError) == value | {"n": [1, 2]}
    assert yaml.safe_load(file.read_text())["j"] == "1e5"


def test_a_file_that_cannot_be_read_is_an_error_of_its_kind(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_yaml(tmp_path / "no.yaml", CheckpointError)
