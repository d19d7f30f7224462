"""The table of what is fuzzed: a command, the sound files that it reads, and which of them are damaged."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

import inputs
from mutations import ODD_VALUES
from trial import Reader

NEMO_FILES = ("*.json", "*.yaml", ".metadata", "common.pt", "__0_0.distcp")
SMALL_FILES = ("*.json", "*.yaml", ".metadata")
CAN_BE_BAD = frozenset({0, 1, 2})  # 1: read, and found wanting


def given(text: str) -> Callable[[Path, Path, Random], Sequence[str]]:
    """The words of a command line, in which IN is the folder of the files and OUT a place to write."""

    def command(folder: Path, out: Path, chance: Random) -> Sequence[str]:
        return [word.replace("IN", str(folder)).replace("OUT", str(out)) for word in text.split()]

    return command


def status(folder: Path, out: Path, chance: Random) -> Sequence[str]:
    if chance.random() < 0.5:
        (folder / "logs").rename(folder / "old-logs")
    return ["status", str(folder), *(["--json"] if chance.random() < 0.3 else [])]


def prepare(name: str, source: str = "IN") -> Callable[[Path, Path, Random], Sequence[str]]:
    """`data prepare`, here and there with bad rows left out."""

    def command(folder: Path, out: Path, chance: Random) -> Sequence[str]:
        skip = " --on-bad-row skip" if chance.random() < 0.3 else ""
        return given(f"data prepare --format {name} --source {source} --out OUT{skip}")(folder, out, chance)

    return command


OVERRIDES = (
    *("experiment=rm_stage2_scaled_bt", "model=llama_tiny", "parallel=tp2", "loss=combined", "peft=lora"),
    *("cluster=h100", "model.optim.lr=1e-5", "trainer.rm.max_steps=3", "model.global_batch_size=8"),
    *("loss.weights.regression=0.5", "data.validation.extra=x.jsonl", "head.attributes=[helpfulness]"),
    *("trainer.devices=2", "model.tensor_model_parallel_size=2", "trainer.max_time_per_run=00:04:00:00"),
    *("exp_manager.create_wandb_logger=true", "model.encoder_seq_length=512"),
)
PIECES = (*"=.[]{},:'\"\\ ~+@", "${", "++", "null", "nan", "-1", "1e999", "x" * 999)


def overrides(folder: Path, out: Path, chance: Random) -> Sequence[str]:
    words = chance.sample(OVERRIDES, chance.randrange(1, 4))
    at = chance.randrange(len(words))
    key, _, value = words[at].partition("=")
    act = chance.randrange(4)
    if act == 0:
        value = chance.choice(ODD_VALUES)
        words[at] = f"{key}={value if isinstance(value, str) else json.dumps(value)}"
    elif act == 1:
        word, place = words[at], chance.randrange(len(words[at]) + 1)
        words[at] = word[:place] + chance.choice(PIECES) + word[place:]
    elif act == 2:
        words[at] = (
            chance.choice(("~", "+", "++", "-", ""))
            + f"{chance.choice((key, key.rpartition('.')[0], key[:-1], ''))}={value}"
        )
    else:
        words[at] = f"{key}={chance.choice(PIECES)}{value}{chance.choice(PIECES)}"
    return ["plan", *(word.replace("\x00", "") for word in words)]


PLAN = """plan model=llama_tiny model.num_layers=2 model.hidden_size=16 model.ffn_hidden_size=24
    model.num_attention_heads=4 model.num_query_groups=2
    pretrained_checkpoint.restore_from_path=IN/base data.dir=IN/data"""
EVALUATE = "evaluate preferences --input IN/pairs.jsonl --scores IN/scores.jsonl --out OUT"


READERS: Mapping[str, Reader] = {
    "status": Reader(
        inputs.run_folder, status, ("*.json", "metrics.jsonl", "driver.log"), frozenset({0, 1, 2, 3, 4, 5})
    ),
    "checkpoint inspect": Reader(inputs.nemo, given("checkpoint inspect IN"), NEMO_FILES),
    "checkpoint inspect (Hugging Face)": Reader(
        inputs.hugging_face, given("checkpoint inspect IN"), ("*.json", "*.safetensors")
    ),
    "checkpoint inspect (Aligner)": Reader(inputs.aligner, given("checkpoint inspect IN"), SMALL_FILES),
    "checkpoint inspect (.nemo)": Reader(
        inputs.aligner, given("checkpoint inspect IN/model.nemo"), SMALL_FILES, pack=inputs.as_archive
    ),
    "checkpoint inspect (NeMo 2)": Reader(inputs.nemo2, given("checkpoint inspect IN"), SMALL_FILES),
    "checkpoint verify": Reader(inputs.nemo, given("checkpoint verify IN"), NEMO_FILES, CAN_BE_BAD),
    "checkpoint verify (Hugging Face)": Reader(
        inputs.hugging_face, given("checkpoint verify IN"), exit_codes=CAN_BE_BAD
    ),
    "convert from-hf": Reader(inputs.hugging_face, given("convert from-hf IN OUT")),
    "convert to-hf": Reader(inputs.nemo, given("convert to-hf IN OUT"), NEMO_FILES),
    "convert to-hf (.nemo)": Reader(
        inputs.aligner, given("convert to-hf IN/model.nemo OUT"), SMALL_FILES, pack=inputs.as_archive
    ),
    "extrapolate": Reader(inputs.nemo, given("extrapolate --average IN IN --out OUT"), NEMO_FILES),
    "score (Hugging Face)": Reader(
        inputs.model_and_rows, given("score --model IN/model --input IN/rows.jsonl --output OUT")
    ),
    "report": Reader(inputs.run_folder, given("report IN --out OUT"), ("*.json", "*.jsonl", "config.yaml")),
    "evaluate preferences": Reader(inputs.scored, given(EVALUATE)),
    "evaluate --baseline": Reader(
        inputs.evaluated, given(f"{EVALUATE} --baseline IN/before"), ("summary.json", "scores.jsonl")
    ),
    "evaluate rewardbench": Reader(
        inputs.benchmark,
        given("evaluate rewardbench --input IN/rewardbench.jsonl --scores IN/scores.jsonl --out OUT"),
    ),
    "data prepare helpsteer2": Reader(inputs.helpsteer2, prepare("helpsteer2")),
    "data prepare helpsteer": Reader(inputs.helpsteer, prepare("helpsteer")),
    "data prepare hh-rlhf": Reader(inputs.hh_rlhf, prepare("hh-rlhf", "IN/helpful-base")),
    "data prepare oasst": Reader(inputs.oasst, prepare("oasst", "IN/2023-04-12_oasst_all.trees.jsonl")),
    "data prepare annotations": Reader(inputs.annotations, prepare("annotations", "IN/tasks.jsonl")),
    "data prepare pairs": Reader(inputs.pairs, prepare("pairs", "IN/pairs.jsonl")),
    "data prepare aligner": Reader(inputs.aligner_rows, prepare("aligner", "IN/rows.jsonl")),
    "data inspect": Reader(inputs.pairs, given("data inspect IN/pairs.jsonl --no-plot"), exit_codes=CAN_BE_BAD),
    "chat template": Reader(
        inputs.chat_template,
        given(
            "data prepare --format pairs --source IN/data/pairs.jsonl --out OUT --max-length 500 "
            "--tokenizer IN/tokenizer --template tokenizer"
        ),
        ("tokenizer*.json", "*.jinja", "special_tokens_map.json"),
    ),
    "overrides": Reader(lambda folder: None, overrides, (), CAN_BE_BAD),
    "plan": Reader(inputs.base_and_data, given(PLAN), NEMO_FILES, CAN_BE_BAD),
}
