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
from torch.distributed.checkpoint import FileSystemReader
from torch_dist_files import write_tensors

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.file_list import FILE_LIST, read_file_list
from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.checkpoint.inspection import inspect_checkpoint
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.megatron.reader import adapt_reader
from nemo_hs2pref.checkpoint.merging.expo import average_checkpoints, extrapolate_checkpoints
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
    average_checkpoints([nemo, nemo], None, nemo.parent / "mean")
    average_checkpoints([exported, exported], None, nemo.parent / "mean-hf")
    for path in (nemo, exported, nemo.parent / "mean", nemo.parent / "mean-hf"):
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
    (problem,) = verify(exported).problems
    assert "tensor model.norm.weight is [65], config.json asks for [64]" in problem


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


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('{"sharded_backend": "zarr"}', "weights are stored as zarr"),  # whose arrays may be pickles
        ('{"sharded_backend": "torch_dist", "common_backend": "dill"}', "another version of torch_dist"),
        ("[]", "not the JSON object of megatron-core"),
        (None, "metadata.json: not found"),
    ],
)
def test_our_own_folders_too_are_read_as_torch_dist_alone(nemo: Path, written: str | None, expected: str) -> None:
    file = nemo / layout.WEIGHTS / "metadata.json"
    file.unlink() if written is None else file.write_text(written)
    with pytest.raises(CheckpointError, match=expected):
        refuse_code(nemo / layout.WEIGHTS)


@pytest.mark.parametrize("part", ["name", "entry", "size", "place", "path", "transform"])
def test_an_index_of_other_parts_is_refused(nemo: Path, part: str) -> None:
    metadata: Any = read_metadata(nemo / layout.WEIGHTS)
    entry, place = metadata.state_dict_metadata[NORM], next(iter(metadata.storage_data.values()))
    match part:
        case "name":
            metadata.state_dict_metadata[7] = entry
        case "entry":
            metadata.state_dict_metadata[NORM] = None
        case "size":
            entry.size = [1, 2]
        case "place":
            place.offset = -1
        case "path":
            place.relative_path = None
        case _:
            place.transform_descriptors = ["zstd"]
    (nemo / layout.WEIGHTS / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match=r"not an index of torch_dist"):
        read_metadata(nemo / layout.WEIGHTS)


def test_what_megatron_core_reads_itself_runs_no_code_either(
    nemo: Path, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a file was changed since we looked at it."""
    monkeypatch.setattr(FileSystemReader, "read_metadata", FileSystemReader.read_metadata)  # to be put back
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    adapt_reader()
    whole = FileSystemReader(nemo / layout.WEIGHTS).read_metadata()
    assert NORM in whole.state_dict_metadata and whole.storage_meta is not None
    (nemo / layout.WEIGHTS / ".metadata").write_bytes(pickle.dumps(attack))
    with pytest.raises(CheckpointError, match="which no index needs"):
        FileSystemReader(nemo / layout.WEIGHTS).read_metadata()
    torch.save(attack, nemo / "common.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(nemo / "common.pt", weights_only=False)
    assert not attack.trace.exists()


def test_what_pickle_says_in_two_lines_is_one_sentence(nemo: Path) -> None:
    (nemo / layout.WEIGHTS / ".metadata").write_bytes(b"\x80\x04\x8c\x01aQ.")
    with pytest.raises(CheckpointError, match=r"not an index of torch_dist \(A load persistent id") as caught:
        read_metadata(nemo / layout.WEIGHTS)
    assert "\n" not in str(caught.value)
