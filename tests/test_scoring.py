"""The scoring loop on a Hugging Face folder, which needs no NeMo; tests/nemo/test_scoring_runs.py has NeMo's side."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from families import ATTRIBUTES, FIGURES, edit_json, save_reward_model
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.standardization import stored
from nemo_hs2pref.cli import main
from nemo_hs2pref.data.records import Conversation, Message, write_jsonl
from nemo_hs2pref.errors import CheckpointError, ConfigError, DataError
from nemo_hs2pref.evaluation.scores import Score, TooLong, rewards
from nemo_hs2pref.scoring import open_scorer
from nemo_hs2pref.scoring.batches import batches_by_tokens, deal, key_of
from nemo_hs2pref.scoring.hugging_face import HuggingFaceModel
from nemo_hs2pref.scoring.journal import fingerprint, partial_of
from nemo_hs2pref.scoring.loop import ModelScorer
from nemo_hs2pref.scoring.progress import Progress

TIME_LIMIT_S = 120


def conversation(name: str, words: int) -> Conversation:
    return Conversation(name, (Message("user", f"Question {name[-1]}?"), Message("assistant", "word " * words)))


ROWS = [conversation(f"r{n}", 7 * n % 90 + 1) for n in range(40)]


@pytest.fixture(scope="module")
def exported(reward_nemo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own export: three attributes under the template extra_id."""
    folder = tmp_path_factory.mktemp("scoring") / "hf"
    convert_to_hf(reward_nemo, folder)
    return folder


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[int]]:
    """The rows that were computed, in order."""
    rows: list[Sequence[int]] = []
    forward = HuggingFaceModel.forward

    def count(self: HuggingFaceModel, batch: Sequence[Sequence[int]]) -> Tensor:
        rows.extend(batch)
        return forward(self, batch)

    monkeypatch.setattr(HuggingFaceModel, "forward", count)
    return rows


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nemo_hs2pref.scoring.loop.TOKENS_A_BATCH", {"cpu": 1024, "cuda": 1024})


def rows_file(folder: Path, rows: Sequence[Conversation]) -> Path:
    write_jsonl(folder / "rows.jsonl", [row.to_json() for row in rows])
    return folder / "rows.jsonl"


def score(model: Path, rows: Path, output: Path, *words: str) -> int:
    return main(["score", "--model", str(model), "--input", str(rows), "--output", str(output), *words])


# --- what a model says ---


def test_rewards_are_those_that_transformers_gives_one_row_at_a_time(exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported)
    model = AutoModelForSequenceClassification.from_pretrained(exported).eval()
    found = open_scorer(exported).score(ROWS)
    assert [row.id for row in found] == [row.id for row in ROWS]
    assert torch.tensor(list(rewards(found).values())).std() > 0.1  # or equality would say little
    for row, got in zip(ROWS, found, strict=True):
        tokens = tokenizer.apply_chat_template([m.to_json() for m in row.messages], return_tensors="pt")
        with torch.no_grad():
            expected = dict(zip(ATTRIBUTES, model(tokens).logits[0].tolist(), strict=True))
        assert got.attributes == pytest.approx(expected, abs=1e-5)
        weighted = 0.5 * expected["helpfulness"] + 0.75 * expected["correctness"] - 0.25 * expected["verbosity"]
        assert got.reward == pytest.approx(weighted, abs=1e-5)


def test_nemotron_layout_gives_the_same_rewards(exported: Path, reward_nemo: Path, tmp_path: Path) -> None:
    convert_to_hf(reward_nemo, tmp_path / "nemotron", hf_layout="nemotron-reward")
    found = rewards(open_scorer(tmp_path / "nemotron").score(ROWS))
    assert found == pytest.approx(rewards(open_scorer(exported).score(ROWS)), abs=1e-5)


def one_label(folder: Path, **config: Any) -> Path:
    """As TRL leaves it: nothing of ours, one label, the tokenizer's own chat template."""
    labels = {"id2label": {0: "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    save_reward_model(folder, "llama3", **labels, **config)
    saved = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: saved[key] for key in saved if key != "hs2pref"}))
    template = "{% for message in messages %}{{ message.role + ': ' + message.content + '\n' }}{% endfor %}"
    edit_json(folder / "tokenizer_config.json", chat_template=template)
    return folder


@pytest.mark.parametrize("pad_token_id", [None, 258, -1, 100_000])
def test_anybodys_classifier_with_one_label_gives_rewards(tmp_path: Path, pad_token_id: int | None) -> None:
    folder = one_label(tmp_path / "hf")
    edit_json(folder / "config.json", pad_token_id=pad_token_id)
    plain = {} if pad_token_id == 258 else {"pad_token_id": None}
    model = AutoModelForSequenceClassification.from_pretrained(folder, **plain).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for row, got in zip(ROWS, open_scorer(folder).score(ROWS), strict=True):
        text = "".join(f"{message.role}: {message.content}\n" for message in row.messages)
        with torch.no_grad():
            expected = model(tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids).logits.item()
        assert got.reward == pytest.approx(expected, abs=1e-5)
        assert got.attributes == {"LABEL_0": got.reward}


def test_a_dropped_bias_is_added(exported: Path, tmp_path: Path) -> None:
    biased = tmp_path / "biased"
    biased.mkdir()
    for file in exported.iterdir():
        (biased / file.name).write_bytes(file.read_bytes())
    ours = json.loads((exported / "config.json").read_text())["hs2pref"]
    edit_json(biased / "config.json", hs2pref=ours | {"dropped_bias": [1.0, 0.0, 4.0]})
    without, with_bias = (open_scorer(folder).score(ROWS[:3]) for folder in (exported, biased))
    for a, b in zip(without, with_bias, strict=True):
        assert b.reward - a.reward == pytest.approx(0.5 * 1.0 - 0.25 * 4.0, abs=1e-6)


# --- what is refused ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auto_map": {"AutoModel": "x.Y"}}, r"config\.json: names code of its own \(auto_map\), which is not run"),
        ({"architectures": ["LlamaForCausalLM"]}, r"architectures is \['LlamaForCausalLM'\], of which no reward"),
        ({"model_type": "no_such_type"}, r"transformers cannot read it \("),
        (
            {"hs2pref": {"template": "tokenizer"}, "id2label": {"0": "a", "1": "b", "2": "c"}},
            "nothing says how a, b, c make",
        ),
    ],
)
def test_folder_without_a_readable_reward_is_refused_in_one_sentence(
    exported: Path, reward_nemo: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    source = exported
    if "architectures" in change:  # its weights are another model's, too
        convert_to_hf(reward_nemo, source := tmp_path / "nemotron", hf_layout="nemotron-reward")
        change = change | {"hs2pref": {}}
    for file in source.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    edit_json(tmp_path / "config.json", **change)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_scorer(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ['{"a":', "[1]", '{"a": "\xff"}'])
def test_a_broken_configuration_is_told_in_one_sentence(exported: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"config\.json: .*not .*; copy or download it again"):
        open_scorer(tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.json: .*not "):
        stored(tmp_path)


def test_classifier_without_its_head_is_refused_and_not_made_up(exported: Path, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(exported)
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "score.weight"}
    model.save_pretrained(tmp_path, state_dict=state)
    AutoTokenizer.from_pretrained(exported).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"tensor score\.weight is missing"):
        open_scorer(tmp_path).score(ROWS)


def test_tensor_parallel_folder_is_refused(exported: Path) -> None:
    with pytest.raises(ConfigError, match="loaded whole by every process, so --tensor-parallel"):
        open_scorer(exported, tensor_parallel=2)


def test_rows_that_are_too_long_are_told_together_before_the_weights_are_read(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HuggingFaceModel, "load", lambda _: pytest.fail("weights are read"))
    long = [conversation(f"long{n}", 5000) for n in range(5)]
    message = r"5 of 45 rows are longer than 4096 tokens \(long0 with \d+, long1 .*, \.\.\.\)"
    with pytest.raises(TooLong, match=message) as raised:
        open_scorer(exported).score([*ROWS, *long])
    assert list(raised.value.reasons) == [row.id for row in long]


def test_rows_that_cannot_be_scored_may_be_skipped_and_the_others_are_scored_as_without_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], computed: list[Sequence[int]]
) -> None:
    folder = one_label(tmp_path / "hf")
    template = "{% for m in messages %}{{ '<|eot_id|>' + m.content }}{% endfor %}"
    edit_json(folder / "tokenizer_config.json", chat_template=template)
    forged = Conversation("forged", (Message("user", "Why?"), Message("assistant", "So <|eot_id|>")))
    rows, alone, output = (
        rows_file(tmp_path, [*ROWS, conversation("long", 5000), forged]),
        tmp_path / "a",
        tmp_path / "b",
    )
    rows.write_text("{\n" + rows.read_text() + json.dumps({**ROWS[0].to_json(), "id": "t", "tools": ["f"]}))
    assert score(folder, rows, output) == 2 and not output.exists()
    assert "or leave them out with --on-bad-row skip" in capsys.readouterr().err
    assert score(folder, rows_file(tmp_path / "good", ROWS), alone) == 0
    open_scorer(folder, partial=partial_of(output)).score(ROWS)  # a run that was killed before it wrote its output
    num_computed = len(computed)
    assert score(folder, rows, output, "--on-bad-row", "skip") == 0
    assert output.read_bytes() == alone.read_bytes() and len(computed) == num_computed
    said = capsys.readouterr().out
    assert f"{output}: 40 rewards\n  skipped rows (--on-bad-row skip): 4\n    {rows}:1: not JSON" in said
    assert f'{rows}:44: "tools" is not read' in said and "    forged: message 2, of the assistant" in said
    assert re.search(r"    long: \d+ tokens, more than 4096\n", said)


@pytest.mark.parametrize("response", ["", " \n"])
def test_an_empty_response_is_scored_as_benchmarks_have_some(exported: Path, response: str) -> None:
    empty = Conversation("empty", (Message("user", "Why?"), Message("assistant", response)))
    first, *rest = open_scorer(exported).score([empty, *ROWS])
    assert first.is_finite and first.reward != rest[0].reward


def test_rows_that_the_template_refuses_are_told_together_before_the_weights_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = one_label(tmp_path / "hf")
    monkeypatch.setattr(HuggingFaceModel, "load", lambda _: pytest.fail("weights are read"))
    template = "{% for m in messages %}{{ '<|eot_id|>' + m.content.split('</think>')[-1] }}{% endfor %}"
    edit_json(folder / "tokenizer_config.json", chat_template=template)
    silent = Conversation("silent", (Message("user", " "), Message("assistant", "What?")))
    forged = conversation("forged", 3)
    forged = replace(forged, messages=(Message("user", "Why <|eot_id|>?"), forged.messages[1]))
    cut = Conversation("cut", (Message("user", "Why?"), Message("assistant", "<think>Hm.</think>So.")))
    with pytest.raises(DataError) as caught:
        open_scorer(folder).score([*ROWS, silent, forged, cut])
    first, *told = str(caught.value).splitlines()
    assert first == "3 rows cannot be used:"
    assert [line.split(": ")[0].strip() for line in told] == ["silent", "forged", "cut"]
    assert "message 1, of the user, is empty" in told[0] and "holds <|eot_id|>" in told[1]
    assert "message 2, of the assistant, '<think>Hm.</think>So.', does not stand in the text" in told[2]


def test_wrong_number_of_started_processes_is_refused(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from argparse import Namespace

    from nemo_hs2pref.cli.processes import are_missing

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "6")
    assert not are_missing(Namespace(data_parallel=1, tensor_parallel=2, pipeline_parallel=1))
    assert not are_missing(Namespace(data_parallel=3, tensor_parallel=2, pipeline_parallel=1))
    for data, tensor in ((1, 4), (2, 2)):
        with pytest.raises(ConfigError, match="6 processes were started, and --data-parallel"):
            are_missing(Namespace(data_parallel=data, tensor_parallel=tensor, pipeline_parallel=1))


# --- batches ---

LENGTHS = st.lists(st.integers(1, 3000), min_size=1, max_size=300)


def rows_of(lengths: Sequence[int]) -> dict[str, list[int]]:
    return {f"{n:04d}": [0] * length for n, length in enumerate(lengths)}


def padded(batch: Sequence[str], rows: dict[str, list[int]]) -> int:
    return len(batch) * max(len(rows[key]) for key in batch)


@given(LENGTHS)
def test_batches_hold_every_row_once_longest_first_and_stay_in_the_budget(lengths: list[int]) -> None:
    rows = rows_of(lengths)
    batches = batches_by_tokens(rows, 4096)
    order = [key for batch in batches for key in batch]
    assert sorted(order) == sorted(rows)
    assert [len(rows[key]) for key in order] == sorted(lengths, reverse=True)
    assert all(padded(batch, rows) <= 4096 for batch in batches)


@given(LENGTHS, st.randoms())
def test_batches_do_not_depend_on_the_order_of_the_rows(lengths: list[int], random: Any) -> None:
    rows = rows_of(lengths)
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert batches_by_tokens({key: rows[key] for key in shuffled}, 4096) == batches_by_tokens(rows, 4096)


@given(LENGTHS, st.integers(1, 8))
def test_every_rank_gets_the_same_work_but_for_one_batch(lengths: list[int], num_ranks: int) -> None:
    rows = rows_of(lengths)
    batches = batches_by_tokens(rows, 4096)
    shares = deal(batches, rows, num_ranks)
    assert sorted(key for share in shares for batch in share for key in batch) == sorted(rows)
    work = [sum(padded(batch, rows) for batch in share) for share in shares]
    assert max(work) - min(work) <= max(padded(batch, rows) for batch in batches)


def test_ranks_end_together_as_the_last_batches_are_small() -> None:
    """60 batches of 4096 tokens on 8 ranks are 8 or 7 each, a seventh apart."""
    rows = rows_of([256] * (60 * 16))
    shares = deal(batches_by_tokens(rows, 4096), rows, 8)
    work = [sum(padded(batch, rows) for batch in share) for share in shares]
    assert max(work) <= 1.03 * min(work)


def test_equal_rows_have_equal_keys_and_others_have_others() -> None:
    rows = [[1, 2], [2, 1], [1, 2, 0], [12], []]
    assert len({key_of(row) for row in rows}) == 5 and key_of([1, 2]) == key_of((1, 2))


# --- a second start ---


def test_equal_rows_are_computed_once(exported: Path, computed: list[Sequence[int]]) -> None:
    twins = [Conversation(f"twin of {row.id}", row.messages) for row in ROWS]
    found = open_scorer(exported).score([*ROWS, *twins])
    assert len(computed) == len({row.messages for row in ROWS}) < len(ROWS) + len(twins)
    assert [s.reward for s in found[: len(ROWS)]] == [s.reward for s in found[len(ROWS) :]]
    assert found[-1].id == f"twin of {ROWS[-1].id}"


class Killed(Exception):
    """Stands for a kill."""


def stop_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the forward pass after so many raise, for as long as the block lasts."""
    done: list[int] = []
    forward = HuggingFaceModel.forward

    def stop(self: HuggingFaceModel, batch: Sequence[Sequence[int]]) -> Tensor:
        if len(done) == batches:
            raise Killed
        done.append(len(batch))
        return forward(self, batch)

    monkeypatch.setattr(HuggingFaceModel, "forward", stop)
    return monkeypatch


def interrupted(model: Path, partial: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        stop_after(2, patch)
        ModelScorer(HuggingFaceModel(model), partial).score(ROWS)


# `hs2pref score` where NeMo is not installed, killed in place of forward pass LIMIT: program.py LIMIT MODEL ROWS OUTPUT
PROGRAM = r"""
import os, signal, sys
class Refuse:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in ("nemo", "nemo_aligner", "megatron", "lightning", "pytorch_lightning"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse)
from nemo_hs2pref.cli import main
from nemo_hs2pref.scoring import loop
from nemo_hs2pref.scoring.hugging_face import HuggingFaceModel
from nemo_hs2pref.scoring.journal import partial_of
loop.TOKENS_A_BATCH = {"cpu": 1024, "cuda": 1024}
limit, model, rows, output = sys.argv[1:]
forward, done = HuggingFaceModel.forward, []
def count(self, batch):
    if len(done) == int(limit):
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(batch)
    os.write(1, f"computed {len(batch)}\n".encode())  # in one piece: two processes have this pipe
    return forward(self, batch)
HuggingFaceModel.forward = count
sys.exit(main(["score", "--model", model, "--input", rows, "--output", output]))
"""


def run_program(folder: Path, *arguments: object, processes: int = 1) -> tuple[int, str]:
    (folder / "program.py").write_text(PROGRAM)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    words = [*(launcher if processes > 1 else []), folder / "program.py", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=TIME_LIMIT_S, env=environment
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.usefixtures("small_batches")
def test_killed_run_goes_on_and_writes_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    """SIGKILL after three batches; what the journal has is not computed again, though two processes do the rest."""
    rows, output = rows_file(tmp_path, ROWS), tmp_path / "killed.jsonl"
    assert score(exported, rows, tmp_path / "whole.jsonl") == 0

    code, printed = run_program(tmp_path, 3, exported, rows, output)
    assert code == -signal.SIGKILL and not output.exists(), printed
    (file,) = partial_of(output).iterdir()
    before = sum(len(json.loads(line)["rows"]) for line in file.read_text().splitlines()[1:])
    assert before == sum(map(int, re.findall(r"computed (\d+)", printed)))
    with file.open("ab") as stream:
        stream.write(b'{"rows": ["0')  # a kill in the middle of a write

    code, printed = run_program(tmp_path, -1, exported, rows, output, processes=2)
    assert code == 0, printed
    assert f"{before} of {len(ROWS)} rows were scored before" in printed
    assert sum(map(int, re.findall(r"computed (\d+)", printed))) == len(ROWS) - before
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not partial_of(output).exists()


def test_two_processes_write_the_bytes_of_one(exported: Path, tmp_path: Path) -> None:
    rows = rows_file(tmp_path, ROWS)
    assert score(exported, rows, tmp_path / "one.jsonl") == 0
    assert score(exported, rows, tmp_path / "two.jsonl", "--data-parallel", "2") == 0
    assert (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


@pytest.mark.usefixtures("small_batches")
def test_results_in_the_models_folder_do_not_make_it_another_model(
    exported: Path, computed: list[Sequence[int]]
) -> None:
    partial = partial_of(exported / "evaluation" / "scores.jsonl")
    interrupted(exported, partial)
    before = len(computed)
    scorer = open_scorer(exported, partial=partial)
    scorer.score(ROWS)
    assert before > 0 and len(computed) == len(ROWS)
    scorer.discard_partial()
    partial.parent.rmdir()


@pytest.mark.parametrize("part", ["model_config.yaml", "model_weights/a.distcp", "tokenizer/vocab.json", "x.model"])
def test_a_checkpoint_is_known_by_its_own_files(tmp_path: Path, part: str) -> None:
    def write(name: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("changed" if (tmp_path / name).exists() else "")

    for name in (part, "evaluation/summary.json", "report/report.html", "hs2pref.json"):
        write(name)
    before = fingerprint(tmp_path)
    for name in ("evaluation/scores.jsonl.partial/a.0.jsonl", "report/report.html", "hs2pref.json"):
        write(name)
    assert fingerprint(tmp_path) == before
    write(part)
    assert fingerprint(tmp_path) != before


@pytest.mark.usefixtures("small_batches")
def test_journal_of_another_model_is_not_used_and_told(
    exported: Path, tmp_path: Path, computed: list[Sequence[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    partial = tmp_path / "scores.jsonl.partial"
    interrupted(exported, partial)
    (file,) = partial.iterdir()
    computed.clear()
    (exported / "model.safetensors").touch()
    rows = rows_file(tmp_path, ROWS)
    assert score(exported, rows, tmp_path / "scores.jsonl") == 0
    printed = capsys.readouterr()
    assert f"{file}: results of another model, precision, device or setting, not used" in printed.err
    assert "were scored before" not in printed.out
    assert len(computed) == len(ROWS)


@pytest.mark.usefixtures("small_batches")
def test_what_a_journal_lacks_is_computed_in_the_batches_of_the_whole_run(exported: Path, tmp_path: Path) -> None:
    """Or a matrix of another shape might give other bits; the cut line at the end does not spoil what follows it."""
    rows = [conversation(f"{n}", 1 + n // 10) for n in range(100)]
    rows = [replace(row, messages=(Message("user", f"Number {row.id}?"), row.messages[1])) for row in rows]
    whole = open_scorer(exported, partial=tmp_path).score(rows)
    (file,) = tmp_path.iterdir()
    header, *batches = file.read_text().splitlines(keepends=True)
    file.write_text("".join([header, *batches[::2], batches[1][:-5]]))
    assert open_scorer(exported, partial=tmp_path).score(rows) == whole
    assert file.read_text() == "".join([header, *batches[::2], *batches[1::2]])


@pytest.mark.usefixtures("small_batches")
def test_all_that_is_known_needs_no_weights(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_scorer(exported, partial=tmp_path / "partial").score(ROWS)
    monkeypatch.setattr(HuggingFaceModel, "load", lambda _: pytest.fail("weights are read"))
    assert open_scorer(exported, partial=tmp_path / "partial").score(ROWS[::-1]) == first[::-1]


def test_scores_that_are_not_finite_leave_no_output(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(HuggingFaceModel, "forward", lambda _, batch: torch.full((len(batch), 3), torch.nan))
    assert score(exported, rows_file(tmp_path, ROWS), tmp_path / "scores.jsonl") == 2
    assert "40 not finite (r0, r1, r10, ...) of 40 scores" in capsys.readouterr().err
    assert not (tmp_path / "scores.jsonl").exists()
    monkeypatch.undo()  # a fault that passes, as of a device
    assert score(exported, rows_file(tmp_path, ROWS), tmp_path / "scores.jsonl") == 0


# --- standardization ---


def test_figures_of_a_hugging_face_folder_stand_in_its_configuration(
    reward_hf: Path, exported: Path, tmp_path: Path
) -> None:
    assert stored(exported) == FIGURES
    rows = rows_file(tmp_path, ROWS)
    before = json.loads((exported / "config.json").read_text())
    assert main(["standardize", "--model", str(exported), "--input", str(rows)]) == 0
    after = json.loads((exported / "config.json").read_text())
    assert (
        after["hs2pref"].pop(STANDARDIZATION)["rows"] == len(ROWS) and before["hs2pref"].pop(STANDARDIZATION) == FIGURES
    )
    assert after == before
    assert not list(exported.parent.glob("*.partial"))
    assert main(["checkpoint", "verify", str(exported)]) == 0


# --- progress ---


def test_time_left_is_told_by_tokens_and_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    progress = Progress(rows=50, tokens=1000, total_rows=100, clock=lambda: now[0])
    now[0] = 20.0
    progress.update(rows=5, tokens=250)
    assert progress.text() == "10 of 100 rows, 0.5 rows/s, 01:00 left"
    assert capsys.readouterr().err == ""
    now[0] = 40.0
    progress.update(rows=5, tokens=250)
    assert capsys.readouterr().err == "scoring: 20 of 100 rows, 0.5 rows/s, 00:40 left\n"


def test_other_ranks_say_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    now = [0.0]
    progress = Progress(rows=2, tokens=2, total_rows=2, clock=lambda: now[0])
    now[0] = 1000.0
    progress.update(rows=1, tokens=1)
    assert capsys.readouterr().err == ""


def test_score_without_attributes_has_no_key_for_them() -> None:
    assert Score("a", 1.0).to_json() == {"id": "a", "reward": 1.0}
