"""`hs2pref generate`: responses of a language model to every prompt of a file."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nemo_hs2pref.cli import processes
from nemo_hs2pref.cli.score import left_out
from nemo_hs2pref.data.collecting import Account
from nemo_hs2pref.data.completions import Sampling
from nemo_hs2pref.data.faults import BadRows, RefusedRows
from nemo_hs2pref.data.jsonl import Row, write_jsonl
from nemo_hs2pref.data.records import Message, Prompt, read_prompts
from nemo_hs2pref.data.templates import TEMPLATES
from nemo_hs2pref.errors import ConfigError, DataError

if TYPE_CHECKING:
    from nemo_hs2pref.generation.requests import Response

EXAMPLES = """examples:
  hs2pref convert from-hf SmolLM2-135M-Instruct smollm2
  hs2pref generate --model smollm2 --input prompts.jsonl --output responses.jsonl --temperature 0
  hs2pref generate --model smollm2 --input prompts.jsonl --output responses.jsonl --samples 4 --top-p 0.9 --seed 1
  hs2pref generate --model sft-70b --tensor-parallel 8 --input prompts.jsonl --output responses.jsonl  # 8 processes

prompts     {"id", "prompt": text or messages}, or {"id", "messages": [..., {"role": "user", "content"}]}
            either also with "system"
responses   {"id", "messages": [..., {"role": "assistant", "content"}], "finish_reason", "num_tokens", "log_prob"}
            in the order of the prompts; with --samples above 1 the ids are "<id>:0", "<id>:1", ...
            `hs2pref score` reads them

A response depends on seed, prompt id and number of the sample, not on what is computed beside it. After a kill the
same command goes on where it was: OUTPUT.partial keeps what is generated.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="CKPT", help="language model: a checkpoint of NeMo's")
    parser.add_argument("--input", required=True, help="prompts.jsonl, plain or gzipped")
    parser.add_argument("--output", required=True, help="responses.jsonl to write")
    parser.add_argument("--samples", type=processes.count, default=1, metavar="N", help="responses to each prompt")
    parser.add_argument(
        "--max-new-tokens", type=processes.count, default=512, metavar="N", help="longest response, its end counted"
    )
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help="0 takes the likeliest token")
    parser.add_argument(
        "--top-p", type=float, default=1.0, metavar="P", help="draw from the likeliest tokens that have this share"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the samples")
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="ends a response as well; may be given again"
    )
    parser.add_argument(
        "--template",
        choices=list(TEMPLATES),
        default="tokenizer",
        help="how a prompt is written; tokenizer: its own chat template",
    )
    parser.add_argument(
        "--on-bad-row",
        choices=["stop", "skip"],
        default="stop",
        help="prompts that cannot be answered (malformed, refused by the template, too long): report all and stop, or "
        "leave them out of OUTPUT and say which they are",
    )
    processes.add_layout(parser)
    parser.set_defaults(run=run)
    parser.epilog = EXAMPLES


@processes.as_rank
def run(args: argparse.Namespace) -> int:
    sampling = sampling_of(args)
    if processes.are_missing(args):
        return processes.start_layout(args)
    account = Account(BadRows(skip=args.on_bad_row == "skip"), may_skip=True)
    prompts = read_prompts(args.input, account)  # before the model is loaded: a bad row must not cost minutes
    if not prompts:
        raise DataError(f"{args.input}: has no prompts that can be answered; expected one at least")

    from nemo_hs2pref.generation.loop import generate  # heavy: torch
    from nemo_hs2pref.generation.policy import Policy
    from nemo_hs2pref.generation.requests import ends_of, token_prompts
    from nemo_hs2pref.scoring.journal import Journal, partial_of

    policy = Policy(Path(args.model), args.tensor_parallel, args.pipeline_parallel)
    if args.max_new_tokens >= policy.num_positions:
        raise ConfigError(
            f"--max-new-tokens {args.max_new_tokens}: the model has positions for {policy.num_positions} tokens, the "
            "prompt's among them; give fewer"
        )
    longest = policy.num_positions - args.max_new_tokens
    try:
        tokens = token_prompts(prompts, args.template, policy.tokenizer, longest)
    except RefusedRows as fault:
        if not account.bad_rows.skip or len(fault.reasons) == len(prompts):
            raise
        for name, reason in fault.reasons.items():
            account.bad_rows.add(name, reason)
        prompts = [prompt for prompt in prompts if prompt.id not in fault.reasons]
        tokens = token_prompts(prompts, args.template, policy.tokenizer, longest)
    ends = ends_of(policy.tokenizer, args.template, args.stop)
    settings = {**asdict(sampling), "template": args.template, "stop": args.stop}
    journal = Journal(partial_of(args.output), policy.fingerprint(**settings), "responses")
    responses = generate(policy, tokens, sampling, ends, journal)
    if processes.is_first():
        rows = [row for prompt in prompts for row in rows_of(prompt, responses[prompt.id])]
        write_jsonl(args.output, rows)
        journal.remove()
        finished = sum(row["finish_reason"] == "stop" for row in rows)
        print(
            f"{args.output}: {len(rows):,} responses, {sum(row['num_tokens'] for row in rows):,} tokens; "
            f"{len(rows) - finished:,} were cut at --max-new-tokens {args.max_new_tokens}"
        )
        print("\n".join(left_out(account)), end="")
    return 0


def sampling_of(args: argparse.Namespace) -> Sampling:
    """Raises ConfigError for figures that no distribution has."""
    if args.temperature < 0:
        raise ConfigError(f"--temperature {args.temperature}: expected 0 (the likeliest token) or more")
    if not 0 < args.top_p <= 1:
        raise ConfigError(f"--top-p {args.top_p}: expected a share above 0, and 1 at most")
    if args.temperature == 0 and args.samples > 1:
        raise ConfigError(f"--samples {args.samples}: at --temperature 0 all are the same; ask for 1, or raise it")
    return Sampling(args.max_new_tokens, args.samples, args.temperature, args.top_p, args.seed)


def rows_of(prompt: Prompt, responses: Sequence["Response"]) -> Iterator[Row]:
    """A row to each response, which `hs2pref score` takes."""
    for number, response in enumerate(responses):
        yield {
            "id": prompt.id if len(responses) == 1 else f"{prompt.id}:{number}",
            "messages": [message.to_json() for message in (*prompt.messages, Message("assistant", response.text))],
            "finish_reason": response.finish_reason,
            "num_tokens": response.num_tokens,
            "log_prob": response.log_prob,
        }
