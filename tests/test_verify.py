"""`hs2pref checkpoint verify` names the file that is missing, cut short or altered, and runs nothing that is stored."""

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FIGURES
from safetensors.torch import load_file, save_file
from small_llama import save_llama
from torch_dist_files import write_tensors

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.file_list import FILE_LIST, read_file_list
from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.checkpoint.inspection import inspect_checkpoint
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.merging.expo import extrapolate_checkpoints
from nemo_hs2pref.checkpoint.torch_dist.index import read_metadata, refuse_code
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.checkpoint.verification.verify import verify
from nemo_hs2pref.cli import main
from nemo_hs2pref.errors import CheckpointError

NORM = "model.decoder.final_layernorm.weight"
WEIGHT_FILE = f"{layout.WEIGHTS}/__1_0.distcp"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("hf") / "llama")


@pytest.fixture
def nemo(llama: Path, tmp_path: Path) -> Path:
    convert_from_hf(llama, tmp_path / "nemo")
    return tmp_path / "nemo"


@pytest.fixture
def exported(nemo: Path, tmp_path: Path) -> Path:
    convert_to_hf(nemo, tmp_path / "exported")
    return tmp_path / "exported"


def flip_a_bit(file: Path, at: float = 0.5) -> None:
    data = bytearray(file.read_bytes())
    data[int(len(data) * at)] ^= 0x10
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


# What is whole


def test_what_was_saved_is_whole(nemo: Path, exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extrapolate_checkpoints(nemo, nemo, {1.52: nemo.parent / "expo"})
    extrapolate_checkpoints(exported, exported, {1.52: nemo.parent / "expo-hf"})
    for path in (nemo, exported, nemo.parent / "expo", nemo.parent / "expo-hf"):
        assert main(["checkpoint", "verify", str(path), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["whole"] and not report["problems"] and not report["notes"], report
        assert report["tensors"] > 8
        on_disk = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
        assert on_disk - {FILE_LIST} == (read_file_list(path) or {}).keys()


def test_others_checkpoints_are_whole_too_and_a_note_says_what_was_not_compared(
    nemo: Path, llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (nemo / FILE_LIST).unlink()
    for path in (nemo, llama):
        assert main(["checkpoint", "verify", str(path)]) == 0
        assert f"note: no {FILE_LIST}" in capsys.readouterr().out


def test_figures_that_are_stored_later_leave_the_checkpoint_whole(nemo: Path) -> None:
    layout.write_manifest(nemo, opening.read_manifest(nemo) | {STANDARDIZATION: FIGURES})
    assert not verify(nemo).problems


# What is not


@pytest.mark.parametrize(
    ("damage", "told"),
    [(flip_a_bit, "when it was saved"), (cut, "was saved with"), (Path.unlink, "missing")],
    ids=["a flipped bit", "a cut file", "a missing file"],
)
def test_every_damaged_file_is_named(damage: Callable[[Path], None], told: str, nemo: Path, exported: Path) -> None:
    for folder in (nemo, exported):
        for name in read_file_list(folder) or {}:
            content = (folder / name).read_bytes()
            damage(folder / name)
            problems = verify(folder).problems
            assert any(problem.startswith(f"{name}: ") and told in problem for problem in problems), problems
            (folder / name).write_bytes(content)


def test_the_command_ends_with_1_and_names_file_and_tensor(nemo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_a_bit(nemo / WEIGHT_FILE)
    assert main(["checkpoint", "verify", str(nemo)]) == 1
    told = capsys.readouterr().out
    assert f"{nemo}/{WEIGHT_FILE}: SHA-256 is " in told
    assert "CRC-32 of" in told and "model.decoder.layers." in told


def test_no_checkpoint_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("verify", "inspect"):
        assert main(["checkpoint", action, str(tmp_path / "nothing")]) == 2
        assert "no checkpoint" in capsys.readouterr().err


def test_torchs_own_checksums_find_a_flipped_bit_where_no_hashes_were_stored(nemo: Path) -> None:
    (nemo / FILE_LIST).unlink()
    flip_a_bit(nemo / WEIGHT_FILE)
    (problem,) = verify(nemo).problems
    assert problem.startswith(f"{WEIGHT_FILE}: model.decoder.layers.") and "CRC-32" in problem
    cut(nemo / WEIGHT_FILE)
    assert any("ends at byte" in problem for problem in verify(nemo).problems)


def rewritten(nemo: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """The weights anew, as a training that went wrong would save them: files, hashes and checksums agree."""
    stored = StoredTensors(nemo / layout.WEIGHTS)
    tensors = {name: stored.read(name) for name in stored.entries}
    change(tensors)
    config = opening.read_config(nemo)
    for file in (nemo / layout.WEIGHTS).iterdir():
        file.unlink()
    (nemo / layout.WEIGHTS).rmdir()
    (nemo / FILE_LIST).unlink()
    write_tensors(tensors, nemo / layout.WEIGHTS, config["num_layers"])


def test_numbers_that_are_not_finite_are_named(nemo: Path) -> None:
    rewritten(nemo, lambda tensors: tensors[NORM].__setitem__(slice(0, 3), torch.tensor([torch.nan, torch.inf, 1])))
    (problem,) = verify(nemo).problems
    assert problem == f"{WEIGHT_FILE}: {NORM} at [0]: 2 values are not finite"


@pytest.mark.parametrize("change", ["dropped", "of another shape"])
def test_tensors_that_the_configuration_does_not_ask_for_are_named(change: str, nemo: Path) -> None:
    def changed(tensors: dict[str, torch.Tensor]) -> None:
        tensor = tensors.pop(NORM)
        if change != "dropped":
            tensors[NORM] = torch.cat([tensor, tensor])

    rewritten(nemo, changed)
    (problem,) = verify(nemo).problems
    assert f"tensor {NORM}" in problem


def test_an_index_of_another_dtype_is_named(nemo: Path) -> None:
    metadata = read_metadata(nemo / layout.WEIGHTS)
    entry: Any = metadata.state_dict_metadata[NORM]
    entry.properties.dtype = torch.float16
    (nemo / layout.WEIGHTS / ".metadata").write_bytes(pickle.dumps(metadata))
    (nemo / FILE_LIST).unlink()
    assert any("is torch.float32 [64], the index says torch.float16 [64]" in text for text in verify(nemo).problems)


def test_a_hugging_face_folder_is_compared_with_its_index_and_config(exported: Path) -> None:
    (exported / FILE_LIST).unlink()
    tensors = load_file(exported / "model.safetensors")
    (exported / "model.safetensors").rename(exported / "a.safetensors")
    index = exported / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys([*tensors, "extra.weight"], "a.safetensors")}))
    assert verify(exported).problems == ["a.safetensors: lacks extra.weight, which the index puts here"]

    index.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, "a.safetensors")}))
    tensors["model.norm.weight"] = torch.full((64,), torch.nan)
    save_file(tensors, exported / "a.safetensors")
    assert verify(exported).problems == ["a.safetensors: model.norm.weight: 64 values are not finite"]

    tensors["model.norm.weight"] = torch.ones(65)
    save_file(tensors, exported / "a.safetensors")
    assert verify(exported).problems == ["tensor model.norm.weight: [65], config.json asks for [64]"]


# Files that would run something


class Attack:
    """Pickled, it makes a file when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def attack(tmp_path: Path) -> Attack:
    harmless = tmp_path / "control"
    pickle.loads(pickle.dumps(Attack(harmless)))
    assert harmless.exists(), "the attack works on a reader that trusts the file"
    return Attack(tmp_path / "attacked")


def test_an_index_that_would_run_code_is_refused_by_all_who_read_it(nemo: Path, attack: Attack) -> None:
    (nemo / layout.WEIGHTS / ".metadata").write_bytes(pickle.dumps(attack))
    assert any("posix.mkdir" in problem or "nt.mkdir" in problem for problem in verify(nemo).problems)
    others: list[Callable[[], object]] = [
        lambda: inspect_checkpoint(nemo),
        lambda: convert_to_hf(nemo, nemo.parent / "out"),
        lambda: extrapolate_checkpoints(nemo, nemo, {1.5: nemo.parent / "out"}),
        lambda: refuse_code(nemo / layout.WEIGHTS),
    ]
    for read in others:
        with pytest.raises(CheckpointError, match="which no index needs"):
            read()
    assert not attack.trace.exists() and not (nemo.parent / "out").exists()


def test_a_tensor_record_that_would_run_code_is_named_and_not_run(nemo: Path, attack: Attack) -> None:
    metadata = read_metadata(nemo / layout.WEIGHTS)
    index, place = next((index, place) for index, place in metadata.storage_data.items() if index.fqn == NORM)
    record = io.BytesIO()
    torch.save(attack, record)
    file = nemo / layout.WEIGHTS / place.relative_path
    with file.open("ab") as stream:
        place.offset, place.length = stream.tell(), len(record.getvalue())
        stream.write(record.getvalue())
    metadata.storage_data[index] = place
    (nemo / layout.WEIGHTS / ".metadata").write_bytes(pickle.dumps(metadata))
    assert any(f"{NORM} at [0]: cannot be read" in problem for problem in verify(nemo).problems)
    with pytest.raises(CheckpointError, match="cannot be read"):
        StoredTensors(nemo / layout.WEIGHTS).read(NORM)
    assert not attack.trace.exists()


def test_common_state_that_would_run_code_is_refused_before_megatron_core_reads_it(nemo: Path, attack: Attack) -> None:
    refuse_code(nemo / layout.WEIGHTS)
    torch.save(attack, nemo / layout.WEIGHTS / "common.pt")
    with pytest.raises(CheckpointError, match=r"common.pt: holds more than numbers and text"):
        refuse_code(nemo / layout.WEIGHTS)
    assert not attack.trace.exists()


def test_an_index_that_points_outside_of_its_folder_is_refused(nemo: Path) -> None:
    metadata = read_metadata(nemo / layout.WEIGHTS)
    next(iter(metadata.storage_data.values())).relative_path = "../../secret.distcp"
    (nemo / layout.WEIGHTS / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match=r"names ../../secret.distcp, outside of its folder"):
        read_metadata(nemo / layout.WEIGHTS)
