"""Which weight files a Hugging Face folder has, one or several with an index, and which tensor is in which."""

import json
from pathlib import Path

from nemo_hs2pref.errors import CheckpointError

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def weight_map_of(index: Path) -> dict[str, str]:
    """Tensor -> name of the file that holds it, beside the index; CheckpointError where one would be elsewhere."""
    try:
        weight_map: dict[str, str] = dict(json.loads(index.read_text())["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{index}: no index of safetensors files ({error!r}); copy it again") from None
    for tensor, name in weight_map.items():
        if Path(name).name != name:
            raise CheckpointError(f"{index}: {tensor} is in {name!r}, outside of the folder; do not trust this model")
    return weight_map


def weight_files(folder: Path) -> dict[Path, list[str] | None]:
    """The safetensors files of a Hugging Face folder, each with the tensors that the index puts there; None: no index.

    Raises CheckpointError where there are none, and where the index names a file outside of the folder.
    """
    index = folder / INDEX
    if not index.is_file():
        if not (folder / WHOLE).is_file():
            raise CheckpointError(f"{folder}: has neither {WHOLE} nor {INDEX}; save the model as safetensors")
        return {folder / WHOLE: None}
    files: dict[Path, list[str] | None] = {}
    for tensor, name in weight_map_of(index).items():
        names = files.setdefault(folder / name, [])
        assert names is not None
        names.append(tensor)
    return files
