"""Parts of the model and of its data that need no NeMo."""

import json
import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.data.batches.rewards import UNGRADED, PairItem, ResponseItem, collate
from nemo_hs2pref.data.datasets import Reader
from nemo_hs2pref.data.records import ATTRIBUTES, IGNORED
from nemo_hs2pref.data.sampling import GlobalBatches, chunks, micro_batches
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.models.reward.head import RewardHead

CPU = torch.device("cpu")


def head(num_attributes: int = 9, bias: bool = False, seed: int = 1) -> RewardHead:
    return RewardHead(16, num_attributes, bias=bias, seed=seed, sequence_parallel=False)


def tokenize(conversations):
    """Each word of the response is a token, its length the number; so is a line break."""
    return [[len(word) for word in row.messages[-1].content.replace("\n", " \\n").split()] for row in conversations]


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
    torch.testing.assert_close(head()(hidden, lengths - 1, torch.arange(3)), expected)


def test_head_stays_float32_when_the_model_is_cast() -> None:
    """Fault 9 of Aligner: its head becomes bfloat16 under megatron_amp_O2."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), head(bias=True))
    before = module[1].weight.clone()
    module.bfloat16()
    assert module[0].weight.dtype == torch.bfloat16
    assert module[1].weight.dtype == module[1].bias.dtype == torch.float32
    torch.testing.assert_close(module[1].weight, before, rtol=0, atol=0)
    rewards = module[1](torch.randn(3, 2, 16, dtype=torch.bfloat16), torch.tensor([2, 0]), torch.arange(2))
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


def response(num_tokens: int, attributes: list[float] | None = None, characters: int = 1) -> ResponseItem:
    return ResponseItem(list(range(1, num_tokens + 1)), attributes or [IGNORED], characters)


def test_batch_is_padded_to_its_longest_row_only() -> None:
    """Fault 6 of Aligner: every row is padded to the full sequence length."""
    items = [response(3), response(1)]
    batch = collate(items, multiple_of=1, device=CPU)
    assert batch.tokens.ids.tolist() == [[1, 2, 3], [1, 0, 0]]
    assert batch.tokens.lengths.tolist() == [3, 1]
    assert batch.tokens.num_tokens == 4
    assert collate(items, multiple_of=4, device=CPU).tokens.ids.shape == (2, 4)


def test_packed_rows_stand_one_after_the_other() -> None:
    batch = collate([response(3), response(2)], multiple_of=4, device=CPU, packed=True).tokens
    assert batch.ids.tolist() == [[1, 2, 3, 1, 2, 0, 0, 0]]
    assert (batch.lengths.tolist(), batch.num_tokens, batch.is_packed) == ([3, 2], 5, True)


def test_only_rated_cells_are_counted() -> None:
    items = [response(1, [IGNORED, 3.0]), response(1, [IGNORED, IGNORED])]
    batch = collate(items, multiple_of=1, device=CPU)
    assert (batch.num_valid, batch.num_pairs, batch.strength.shape) == (1, 0, (0,))


def test_a_pair_is_one_item_with_both_sides_in_one_batch() -> None:
    items = [PairItem(response(2, [4.0]), response(1), 3), PairItem(response(1), response(3, characters=7), None)]
    batch = collate(items, multiple_of=1, device=CPU)
    assert batch.tokens.ids.tolist() == [[1, 2, 0], [1, 0, 0], [1, 0, 0], [1, 2, 3]]
    assert [side.tolist() for side in batch.sides(batch.tokens.lengths)] == [[2, 1], [1, 3]]
    assert batch.strength.tolist() == [3, UNGRADED]
    assert (batch.num_pairs, batch.num_graded, batch.num_valid) == (2, 1, 1)
    assert batch.characters.tolist() == [1, 1, 1, 7]


# --- items ---


def reader(max_length: int = 20, **given) -> Reader:
    return Reader(tokenize, slots=ATTRIBUTES, **{"attributes": ATTRIBUTES, "max_length": max_length, **given})


def test_a_row_that_is_too_long_stops_the_run_and_is_named(tmp_path: Path) -> None:
    """Fault 4 of Aligner: the next row takes its place and is trained twice."""
    path = write(tmp_path / "pairs.jsonl", [pair_row("short", 1), pair_row("long", 2, "word " * 50)])
    with pytest.raises(
        DataError, match=r"1 rows are longer than model.encoder_seq_length=20 tokens.*'long:chosen' with 50"
    ):
        reader().pairs(path, require_strength=True)


def test_ties_follow_the_named_policy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Fault 3 of Aligner: a tie trains "response 2 is better" with its full gradient."""
    path = write(tmp_path / "pairs.jsonl", [pair_row("a", 2), pair_row("tie", 0), pair_row("b", 1)])
    with caplog.at_level(logging.WARNING):
        items = reader().pairs(path, require_strength=True)
    assert [item.strength for item in items] == [2, 1]
    assert "1 of 3 pairs have strength 0 and are dropped" in caplog.text
    with pytest.raises(DataError, match="the first is 'tie'"):
        reader(ties="stop").pairs(path, require_strength=True)


@pytest.mark.parametrize("sides", [("ab", "cd"), ("No.", "No.\n")])  # by their tokens; by their text
def test_sides_that_are_equal_prefer_nothing(tmp_path: Path, sides, caplog: pytest.LogCaptureFixture) -> None:
    equal = pair_row("equal", 1) | dict(zip(("chosen", "rejected"), sides, strict=True))
    path = write(tmp_path / "pairs.jsonl", [pair_row("tie", 0), pair_row("a", 2), equal])
    with caplog.at_level(logging.WARNING):
        items = reader().pairs(path, require_strength=True)
    assert [item.strength for item in items] == [2]
    assert "1 of 2 pairs have two equal responses and are dropped" in caplog.text
    path = write(tmp_path / "pairs.jsonl", [pair_row("a", 2), equal])
    with pytest.raises(DataError, match=r"pairs.jsonl: 1 of 2 pairs have two equal responses, the first is 'equal'"):
        reader(ties="stop").pairs(path, require_strength=True)


def test_a_pair_without_strength_is_read_where_none_is_needed(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", [pair_row("a", 2), {**pair_row("b", 1), "strength": None}])
    assert [item.strength for item in reader().pairs(path, require_strength=False)] == [2, None]
    with pytest.raises(DataError, match=r'pairs.jsonl:2: no "strength"'):
        reader().pairs(path, require_strength=True)


def test_a_pair_brings_the_ratings_of_its_sides(tmp_path: Path) -> None:
    rated = {"chosen_attributes": {"helpfulness": 4, "verbosity": 2}, "rejected_attributes": {"helpfulness": 1}}
    path = write(tmp_path / "pairs.jsonl", [pair_row("a", 2) | rated, pair_row("b", 1)])
    first, second = reader(attributes=["helpfulness"]).pairs(path, require_strength=True)
    assert [first.chosen.attributes[4], first.rejected.attributes[4]] == [4.0, 1.0]
    assert {*first.chosen.attributes[:4], *first.chosen.attributes[5:], *second.chosen.attributes} == {IGNORED}


def test_a_validation_set_is_read_for_what_it_holds(tmp_path: Path) -> None:
    pairs = write(tmp_path / "own.jsonl", [{**pair_row("a", 2), "strength": None}])
    ratings = write(tmp_path / "other.jsonl", [rating_row()])
    assert isinstance(reader().either(pairs)[0], PairItem)
    assert isinstance(reader().either(ratings)[0], ResponseItem)


def rating_row() -> dict:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello there"}]
    return {"id": "r", "messages": messages, "attributes": {"helpfulness": 3, "verbosity": 1}}


def test_attributes_that_are_not_asked_for_are_masked(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [rating_row()])
    (item,) = reader(attributes=["helpfulness"]).responses(path)
    assert item.attributes == [IGNORED] * 4 + [3.0] + [IGNORED] * 4
    assert item.characters == len("hello there")
    with pytest.raises(DataError, match=r"row 'r' has none of data\.attributes correctness"):
        reader(attributes=["correctness"]).responses(path)


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


def test_chunks_hold_every_item_in_order() -> None:
    assert [list(chunk) for chunk in chunks(range(10), 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@given(
    widths=st.lists(st.integers(1, 50), min_size=1, max_size=40), size=st.integers(1, 5), num_ranks=st.integers(1, 4)
)
def test_micro_batches_hold_every_item_once_by_length(widths: list[int], size: int, num_ranks: int) -> None:
    items = range(len(widths))
    of_rank = [micro_batches(items, dict(enumerate(widths)), size, rank, num_ranks) for rank in range(num_ranks)]
    assert sorted(i for batches in of_rank for batch in batches for i in batch) == list(items)
    assert max(map(len, of_rank)) - min(map(len, of_rank)) <= 1
    for batches in of_rank:
        in_order = [widths[i] for batch in batches for i in batch]
        assert in_order == sorted(in_order, reverse=True)


def test_micro_batches_by_length_need_less_padding() -> None:
    widths = {0: 100, 1: 10, 2: 90, 3: 20}
    assert [list(batch) for batch in micro_batches([1, 0, 3, 2], widths, 2, 0, 1)] == [[0, 2], [3, 1]]
