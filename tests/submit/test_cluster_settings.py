"""A cluster's file: what is refused of it, and the shell text that it becomes."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from nemo_hs2pref.config.load import config_dir
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.jobs.cluster import load_cluster, sbatch_flags, settings_file
from nemo_hs2pref.launch.jobs.script import refuse_bad_syntax
from nemo_hs2pref.preflight.versions import IMAGE

CLUSTERS = sorted(path.stem for path in (config_dir() / "cluster").glob("*.yaml"))


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_cluster_gives_shell_text_that_is_right(name: str) -> None:
    cluster = load_cluster([f"cluster={name}", "cluster.mounts=['/a b:/c']"])
    refuse_bad_syntax(settings_file(cluster), name)
    assert sbatch_flags(cluster, nodes=1, devices=8, run=Path("/run"))


def test_values_of_settings_keep_their_quotes() -> None:
    cluster = load_cluster(["cluster.environment.NAME='a \"b\" $HOME `id`, c'", "cluster.mounts=['/a b:/c',/d]"])
    text = settings_file(cluster) + 'printf \'%s|%s\' "$NAME" "$HS2PREF_MOUNTS"'
    shown = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True).stdout
    assert shown == 'a "b" $HOME `id`, c|/a b:/c,/d'


@pytest.mark.parametrize(
    ("container", "image", "is_read"),
    [
        ("enroot_pyxis", "nvcr.io#nvidia/nemo:25.02.01", True),
        ("enroot_pyxis", "/shared/nemo.sqsh", True),
        ("enroot_pyxis", "nvcr.io/nvidia/nemo:25.02.01", False),
        ("apptainer", "docker://nvcr.io/nvidia/nemo:25.02.01", True),
        ("apptainer", "/shared/nemo.sif", True),
        ("apptainer", "nvcr.io/nvidia/nemo:25.02.01", False),
        ("apptainer", "nemo.sif", False),
    ],
)
def test_an_image_is_one_that_its_container_reads(container: str, image: str, is_read: bool) -> None:
    words = [f"cluster.container={container}", f"cluster.image='{image}'"]
    if is_read:
        assert f"HS2PREF_IMAGE={shlex.quote(image)}" in settings_file(load_cluster(words))
    else:
        with pytest.raises(ConfigError, match="cannot read it; expected /shared/images"):
            load_cluster(words)


def test_the_image_of_the_clusters_is_the_one_that_preflight_knows() -> None:
    for name in ("a100", "h100"):
        assert load_cluster([f"cluster={name}"]).image == IMAGE.replace("/", "#", 1)


@pytest.mark.parametrize("line", ["time: 12:00:00", "time: 90"])
def test_a_time_that_yaml_has_made_a_number_is_refused(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(config_dir(), tmp_path / "conf")
    mine = "defaults: [plain, _self_]\n"
    (tmp_path / "conf" / "cluster" / "mine.yaml").write_text(mine + line)
    monkeypatch.setattr("nemo_hs2pref.config.load.config_dir", lambda: tmp_path / "conf")
    with pytest.raises(ConfigError, match=r"cluster\.time=.*put it in quotes"):
        load_cluster(["cluster=mine"])
    assert load_cluster(["cluster=mine", "cluster.time=90"]).time == "90"
