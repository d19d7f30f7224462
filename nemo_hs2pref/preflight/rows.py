"""The prepared rows: are they those that `hs2pref data prepare` wrote, and prepared for this model?"""

from collections.abc import Iterator
from pathlib import Path

from nemo_hs2pref.checkpoint import opening
from nemo_hs2pref.config.data_files import files_read
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.data.manifest import read_prepared
from nemo_hs2pref.data.preparation.output import MANIFEST
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.files import sha256
from nemo_hs2pref.preflight.check import Finding, failed, ok, warning

PREPARE = "prepare the data again: hs2pref data prepare"
TOKENIZER_FILE = "tokenizer.json"  # all of a fast tokenizer but its chat template


def look_at_data(config: RunConfig) -> Iterator[Finding]:
    """Files that the run reads, by the hashes of the folder's manifest."""
    files, absent = files_of(config)
    for path in absent:
        yield failed(f"{path} is not there", PREPARE)
    try:
        prepared = read_prepared(Path(config.data.dir))
    except DataError as error:
        yield failed(str(error), PREPARE)
        return
    if prepared is None:
        hint = "rows of others are read as they are; `hs2pref data inspect` shows them"
        yield warning(f"{config.data.dir} has no {MANIFEST}: whether the rows are whole is not known", hint)
        return
    counts: list[str] = []
    for path in files:
        about = prepared.outputs.get(path.name)
        if about is None:
            yield warning(f"{path} is not in {MANIFEST}", "it came from elsewhere; `hs2pref data inspect` shows it")
        elif sha256(path) != about.sha256:
            yield failed(f"{path} is not what was prepared (SHA-256 differs)", PREPARE)
        else:
            counts.append(f"{path.name} {about.rows} rows")
    yield ok(", ".join(counts) or "nothing to compare")


def files_of(config: RunConfig) -> tuple[list[Path], list[Path]]:
    """What is there, and what is not."""
    wanted = [*files_read(config).values()]
    return [path for path in wanted if path.is_file()], [path for path in wanted if not path.is_file()]


def look_at_preparation(config: RunConfig) -> Iterator[Finding]:
    """The length filter counted tokens as this run does; a longer row stops it when it starts."""
    prepared = read_prepared(Path(config.data.dir))
    limit = prepared.length_limit if prepared else None
    longest = config.model.encoder_seq_length
    again = f"{PREPARE} --max-length {longest} --tokenizer {config.pretrained_checkpoint.restore_from_path}/tokenizer"
    if limit is None:
        yield warning(f"no length was asked for; rows of more than {longest} tokens would stop the run", again)
        return
    if limit.max_length > longest:
        yield warning(f"prepared for {limit.max_length} tokens, model.encoder_seq_length={longest}", again)
    if limit.template != config.data.template:
        yield warning(f"prepared for template {limit.template}, data.template={config.data.template}", again)
    if is_other_tokenizer(Path(limit.tokenizer), Path(config.pretrained_checkpoint.restore_from_path)):
        yield warning(f"prepared with the tokenizer {limit.tokenizer}, which is not the checkpoint's", again)
    yield ok(f"at most {limit.max_length} tokens by {limit.tokenizer}, template {limit.template}")


def is_other_tokenizer(used: Path, base: Path) -> bool:
    """By content, where both can be read; a name of the hub and a folder that is gone are taken on trust."""
    own, other = opening.opened(base) / "tokenizer" / TOKENIZER_FILE, used / TOKENIZER_FILE
    return own.is_file() and other.is_file() and sha256(own) != sha256(other)
