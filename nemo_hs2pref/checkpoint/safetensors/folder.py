"""Which weight files a Hugging Face folder has, one or several with an index, and which tensor is in which.

Where several kinds are there, transformers' order decides, so that every verb, and transformers itself, reads the same:
safetensors before .bin, and of either a whole file before an index.
"""

from pathlib import Path

from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.files import read_json

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
BIN = "pytorch_model.bin"
ANY_KIND = (WHOLE, BIN)

WeightFiles = dict[Path, list[str] | None]  # each with the tensors that the index puts there; None: no index


def weight_map_of(index: Path) -> dict[str, str]:
    """Tensor -> name of the file that holds it, beside the index; CheckpointError where one would be elsewhere."""
    weight_map = read_json(index, CheckpointError).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: no index of weight files (weight_map is missing or empty); copy it again")
    for tensor, name in weight_map.items():  # pyright: ignore[reportUnknownVariableType] JSON
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(f"{index}: {tensor} is in {name!r}, outside of the folder; do not trust this model")
    return {str(tensor): str(name) for tensor, name in weight_map.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] JSON


def weight_files(folder: Path, kinds: tuple[str, ...] = (WHOLE,)) -> WeightFiles:
    """The files of the first of `kinds` that the folder has: by default safetensors alone.

    Raises CheckpointError where there are none, and where the index names a file outside of the folder.
    """
    for name in kinds:
        whole, index = folder / name, folder / f"{name}.index.json"
        if whole.exists():
            return {whole: None}
        if index.exists():
            return files_of(index)
    wanted = " nor ".join(f"{name} nor {name}.index.json" for name in kinds)
    save_again = "; save the model as safetensors" if kinds == (WHOLE,) else ""
    raise CheckpointError(f"{folder}: has neither {wanted}{save_again}")


def files_of(index: Path) -> WeightFiles:
    files: WeightFiles = {}
    for tensor, name in weight_map_of(index).items():
        names = files.setdefault(index.parent / name, [])
        assert names is not None
        names.append(tensor)
    return files
