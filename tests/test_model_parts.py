"""Parts of the model and of its data that need no NeMo."""

import json
import logging
from pathlib import Path

import pytest
import torch

from nemo_hs2pref.data.batches import IGNORED, PairItem, RatingItem, collate_pairs, collate_ratings
from nemo_hs2pref.data.datasets import pair_items, rating_items
from nemo_hs2pref.data.records import ATTRIBUTES
from nemo_hs2pref.data.sampling import GlobalBatches, chunks, share
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.metrics import summarise
from nemo_hs2pref.models.head import RewardHead

CPU = torch.device("cpu")


def head(num_attributes: int = 9, bias: bool = False, seed: int = 1) -> RewardHead:
    return RewardHead(16, num_attributes, bias=bias, seed=seed, sequence_parallel=False)


def tokenize(conversations):
    """Each word of the response is a token."""
    return [list(range(len(messages[-1].content.split()))) for messages in conversations]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pair_row(name: str, strength: int, response: str = "yes it is") -> dict:
    return {"id": name, "prompt": "is it?", "chosen": response, "rejected": "no", "strength": strength}


# --- head ---


def test_head_reads_the_last_token_of_each_row() -> None:
    hidden = torch.randn(7, 3, 16)  # S, B, H
    lengths = torch.tensor([7, 2, 5])
    expected = torch.stack([hidden[6, 0], hidden[1, 1], hidden[4, 2]]) @ head().weight.T
    torch.testing.assert_close(head()(hidden, lengths), expected)


def test_head_stays_float32_when_the_model_is_cast() -> None:
    """Fault 9 of Aligner: its head becomes bfloat16 under megatron_amp_O2."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), head(bias=True))
    before = module[1].weight.clone()
    module.bfloat16()
    assert module[0].weight.dtype == torch.bfloat16
    assert module[1].weight.dtype == module[1].bias.dtype == torch.float32
    torch.testing.assert_close(module[1].weight, before, rtol=0, atol=0)
    rewards = module[1](torch.randn(3, 2, 16, dtype=torch.bfloat16), torch.tensor([3, 1]))
    assert rewards.dtype == torch.float32


def test_head_starts_the_same_wherever_it_is_built() -> None:
    torch.manual_seed(7)
    first = head().weight
    torch.manual_seed(8)
    torch.testing.assert_close(first, head().weight, rtol=0, atol=0)
    assert not torch.equal(first, head(seed=2).weight)


def test_head_has_a_bias_only_on_request() -> None:
    assert head().bias is None
    assert head(bias=True).bias.shape == (9,)


# --- batches ---


def test_batch_is_padded_to_its_longest_row_only() -> None:
    """Fault 6 of Aligner: every row is padded to the full sequence length."""
    items = [RatingItem([5, 6, 7], [1.0]), RatingItem([8], [2.0])]
    batch = collate_ratings(items, multiple_of=1, device=CPU)
    assert batch.tokens.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.num_tokens == 4
    assert collate_ratings(items, multiple_of=4, device=CPU).tokens.shape == (2, 4)


def test_only_rated_cells_are_counted() -> None:
    items = [RatingItem([1], [IGNORED, 3.0]), RatingItem([1], [IGNORED, IGNORED])]
    assert collate_ratings(items, multiple_of=1, device=CPU).num_valid == 1


def test_a_pair_is_one_item_with_both_sides_in_one_batch() -> None:
    items = [PairItem([1, 2], [3], 3), PairItem([4], [5, 6, 7], 1)]
    batch = collate_pairs(items, multiple_of=1, device=CPU)
    assert batch.tokens.tolist() == [[1, 2, 0], [4, 0, 0], [3, 0, 0], [5, 6, 7]]
    assert batch.strength.tolist() == [3, 1]


# --- items ---


def test_a_row_that_is_too_long_stops_the_run_and_is_named(tmp_path: Path) -> None:
    """Fault 4 of Aligner: the next row takes its place and is trained twice."""
    path = write(tmp_path / "pairs.jsonl", [pair_row("short", 1), pair_row("long", 2, "word " * 50)])
    with pytest.raises(
        DataError, match=r"1 rows are longer than model.encoder_seq_length=20 tokens.*'long:chosen' with 50"
    ):
        pair_items(path, tokenize, ties="drop", max_length=20)


def test_ties_follow_the_named_policy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Fault 3 of Aligner: a tie trains "response 2 is better" with its full gradient."""
    path = write(tmp_path / "pairs.jsonl", [pair_row("a", 2), pair_row("tie", 0), pair_row("b", 1)])
    with caplog.at_level(logging.WARNING):
        items = pair_items(path, tokenize, ties="drop", max_length=20)
    assert [item.strength for item in items] == [2, 1]
    assert "1 of 3 pairs have strength 0 and are dropped" in caplog.text
    with pytest.raises(DataError, match="the first is 'tie'"):
        pair_items(path, tokenize, ties="stop", max_length=20)


def test_attributes_that_are_not_asked_for_are_masked(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello there"}]
    row = {"id": "r", "messages": messages, "attributes": {"helpfulness": 3, "verbosity": 1}}
    (item,) = rating_items(
        write(tmp_path / "r.jsonl", [row]), tokenize, slots=ATTRIBUTES, attributes=["helpfulness"], max_length=9
    )
    assert item.attributes == [IGNORED] * 4 + [3.0] + [IGNORED] * 4
    with pytest.raises(DataError, match=r"row 'r' has none of data\.attributes correctness"):
        rating_items(tmp_path / "r.jsonl", tokenize, slots=ATTRIBUTES, attributes=["correctness"], max_length=9)


# --- order ---


def test_an_epoch_visits_every_item_once_and_the_next_in_another_order() -> None:
    order = GlobalBatches(10, 4, seed=3, shuffle=True)
    seen = [i for step in range(5) for i in order.indices(step)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


def test_order_depends_on_seed_and_step_alone() -> None:
    """So that a resumed run goes on with the items that come next."""
    first, second = GlobalBatches(10, 4, seed=3, shuffle=True), GlobalBatches(10, 4, seed=3, shuffle=True)
    first.indices(0)
    assert first.indices(4) == second.indices(4)
    assert second.indices(4) != GlobalBatches(10, 4, seed=4, shuffle=True).indices(4)


def test_steps_are_whole_global_batches() -> None:
    assert GlobalBatches(20_324, 128, seed=0, shuffle=True).num_steps(2, -1) == 317  # the paper's stage 1
    assert GlobalBatches(6_766, 64, seed=0, shuffle=True).num_steps(1, -1) == 105  # the paper's stage 2
    assert GlobalBatches(100, 10, seed=0, shuffle=True).num_steps(1, 7) == 7


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_ranks_share_all_items_without_overlap(size: int) -> None:
    parts = [share(list(range(10)), rank, size) for rank in range(size)]
    assert [i for part in parts for i in part] == list(range(10))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert [i for chunk in chunks(list(range(10)), 4) for i in chunk] == list(range(10))


# --- metrics ---


def test_metrics_of_merged_sums_are_those_of_all_rows() -> None:
    rewards = [1.0, 2.0, 4.0, 5.0]
    sums = {"rows": 4.0, "reward": 12.0, "reward_squared": 46.0, "pairs": 2.0, "correct": 1.0, "margin": -3.0}
    metrics = summarise(sums)
    assert metrics["reward_mean"] == 3.0
    assert metrics["reward_std"] == pytest.approx(torch.tensor(rewards).std(unbiased=False).item())
    assert (metrics["accuracy"], metrics["margin"]) == (0.5, -1.5)


def test_no_rows_give_no_ratios() -> None:
    assert summarise({"rows": 0.0, "pairs": 0.0}) == {}
