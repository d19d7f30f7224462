"""Where a model comes from: configuration, data, versions. What a run did not record is named."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from nemo_hs2pref.data.preparation.output import MANIFEST as DATA_MANIFEST
from nemo_hs2pref.decode import from_file, from_plain
from nemo_hs2pref.errors import DataError, HS2PrefError
from nemo_hs2pref.report.defaults import PLACES, differences, flat, nearest_experiment
from nemo_hs2pref.report.document import Block, Code, Folded, Section, Table, Text
from nemo_hs2pref.report.figures import shown
from nemo_hs2pref.report.runs import CONFIG, Run
from nemo_hs2pref.yaml_files import dumped

PREPARED_BY = "data prepare"
DIGITS = 12  # of a hash
# of a checkpoint's manifest: what has a place of its own on the page, or is a copy of it
TOLD_ELSEWHERE = {"run", "metrics", "data", "read", "extrapolated", "averaged", "merged", "standardization"}
GIT = "git"


class Output(TypedDict, total=False):
    """A file that was prepared."""

    rows: int | None
    sha256: str | None
    dropped: dict[str, int] | None


class Prepared(TypedDict, total=False):
    """The manifest of prepared data, as far as it is shown."""

    inputs: dict[str, Output] | None
    outputs: dict[str, Output] | None
    length_limit: dict[str, Any] | None


def configuration(run: Run) -> Iterator[Block]:
    """What the run changed of the paper's run that it is nearest to, and the whole."""
    if not run.config:
        what = f"This model was not trained: it is {run.made_of}." if run.made_of else f"No {CONFIG} in this folder."
        yield Text(what)
        return
    given = {key: value for key, value in flat(run.config).items() if key not in PLACES}
    name, experiment = nearest_experiment(run.config)
    changed = differences(given, experiment)
    close = f"Nearest experiment: {name}; the run does not record which one it was."
    if changed:
        yield Text(f"{close} It differs in {len(changed)} of {len(given)} keys.")
        table = Table(("key", "this run", name), changed, align="l")
        yield table if len(changed) <= 12 else Folded(f"The {len(changed)} keys that differ", [table])
    else:
        yield Text(f"{close} No key differs.")
    places = [(key, str(value)) for key, value in flat(run.config).items() if key in PLACES]
    yield Table(("place", ""), places, align="l")
    yield Folded("The resolved configuration", [Code(dumped(run.config), "yaml")])


def versions(run: Run) -> Iterator[Block]:
    """What the checkpoints' manifests say of themselves."""
    if not run.checkpoints:
        yield Text("No checkpoint in this folder, so no version is recorded.")
        return
    recorded = {place: dict(scalars(manifest)) for place, manifest in run.checkpoints.items()}
    keys = list(dict.fromkeys(key for of in recorded.values() for key in of))
    rows = [(place, *(of.get(key, "-") for key in keys)) for place, of in recorded.items()]
    yield Table(("checkpoint", *(key.replace("_", " ") for key in keys)), rows, align="l")
    if not any(GIT in key or "commit" in key for key in keys):
        yield Text("The run did not record its git commit.")


def scalars(manifest: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and value of whatever the manifest has besides what the page tells elsewhere."""
    for key, value in manifest.items():
        if prefix or key not in TOLD_ELSEWHERE:
            if isinstance(value, Mapping):
                yield from scalars(value, f"{prefix}{key}.")
            elif not isinstance(value, list):
                yield f"{prefix}{key}", shown(key, value)


def data(run: Run) -> Iterator[Block]:
    """The files that the run read: rows, hashes, what was dropped and why; whether they are still the same."""
    recorded = next((of["data"] for of in run.checkpoints.values() if of.get("data")), {})
    folder = (run.config.get("data") or {}).get("dir")
    manifest = read_manifest(Path(folder) / DATA_MANIFEST) if folder else None
    if manifest is None:
        where = f"{folder} has no {DATA_MANIFEST} that can be read here" if folder else "the run names no data"
        yield Text(f"No account of the data: {where}.")
    else:
        yield Text(prepared(manifest))
    outputs = (manifest or {}).get("outputs") or {}
    if rows := [file_row(name, outputs.get(name), recorded.get(name)) for name in {**outputs, **recorded}]:
        yield Table(("file", "rows", "SHA-256", "dropped", "since the run"), rows, align="l")


def file_row(name: str, output: Mapping[str, Any] | None, recorded: str | None) -> tuple[str, ...]:
    """`recorded`: the hash that the run wrote into its checkpoints."""
    digest = (output or {}).get("sha256") or recorded or ""
    dropped = ", ".join(f"{reason} {count:,}" for reason, count in ((output or {}).get("dropped") or {}).items())
    if recorded is None:
        since = "not recorded by the run"
    elif output is None:
        since = "no longer in the folder"
    else:
        since = "the same" if recorded == output.get("sha256") else f"changed; it was {recorded[:DIGITS]}…"
    rows = (output or {}).get("rows")
    return name, "-" if rows is None else f"{rows:,}", f"{digest[:DIGITS]}…", dropped or "-", since


def prepared(manifest: Mapping[str, Any]) -> str:
    """How the files were made, in a sentence."""
    if manifest.get("tool") != PREPARED_BY:
        return f"The data's manifest is not one of `hs2pref {PREPARED_BY}`: it was written by {manifest.get('tool')}."
    named = ("source", "format", "seed", "version")
    parts = [f"{key} {manifest[key]}" for key in named if manifest.get(key) is not None]
    if limit := manifest.get("length_limit"):
        parts.append("length limit " + ", ".join(f"{key} {value}" for key, value in limit.items()))
    for name, about in (manifest.get("inputs") or {}).items():
        digest = f", SHA-256 {about['sha256'][:DIGITS]}…" if about.get("sha256") else ""
        parts.append(f"{name}: {about.get('name')}, {about.get('rows')} rows{digest}")
    return "Prepared from " + "; ".join(parts) + "."


def read_manifest(path: Path) -> dict[str, Any] | None:
    """None where it is not there or is no manifest: the data may lie on another machine."""
    try:
        manifest = from_file(dict[str, Any], path, DataError)
        from_plain(Prepared, manifest, path, DataError)
    except HS2PrefError:
        return None
    return manifest


def provenance_sections(run: Run) -> list[Section]:
    return [
        Section("Configuration", [*configuration(run)]),
        Section("Data", [*data(run)]),
        Section("Versions", [*versions(run)]),
    ]
