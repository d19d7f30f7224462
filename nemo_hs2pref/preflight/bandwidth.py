"""How fast gradients will travel: all_reduce among all ranks, by NCCL on GPUs, else by gloo.

Each node starts its ranks, `python -m nemo_hs2pref.preflight.bandwidth`; the first of a node prints what it measured.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta

from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.preflight.check import Finding, failed, ok, skipped
from nemo_hs2pref.preflight.node import Node

GPU_BYTES, CPU_BYTES = 2**28, 2**24  # large enough that latency is nothing
ROUNDS, WARM_UP = 20, 5
TIMEOUT = timedelta(seconds=120)


def look_at_bandwidth(
    config: RunConfig | None, node: Node, environ: Mapping[str, str], floor: float
) -> Iterator[Finding]:
    """Bus bandwidth in GB/s of 10^9 bytes, as nccl-tests count it: what the slowest link carries both ways."""
    devices = config.trainer.devices if config else int(environ.get("SLURM_GPUS_ON_NODE", 1))
    if devices * node.count < 2:
        yield skipped("a single rank has nobody to reduce with")
        return
    ranks = [start(node.index * devices + local, local, devices * node.count, environ) for local in range(devices)]
    said = [rank.communicate() for rank in ranks]
    broken = [place for place, rank in enumerate(ranks) if rank.returncode]
    if broken:
        error = (said[broken[0]][1].strip() or "nothing").splitlines()[-1]
        hint = "NCCL_DEBUG=INFO tells more; NCCL_SOCKET_IFNAME and NCCL_IB_HCA choose the network"
        yield failed(f"rank {node.index * devices + broken[0]} ended with {ranks[broken[0]].returncode}: {error}", hint)
        return
    speed, backend = said[0][0].split()
    text = f"{float(speed):.2f} GB/s among {devices * node.count} ranks by {backend}"
    if float(speed) < floor:
        hint = "a slow link or a wrong network: NCCL_IB_HCA, NCCL_SOCKET_IFNAME; try with some nodes left out"
        yield failed(f"{text}, at least {floor:g} was asked for", hint)
    yield ok(text)


def start(rank: int, local: int, world: int, environ: Mapping[str, str]) -> "subprocess.Popen[str]":
    rendezvous = {
        "MASTER_ADDR": environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": environ.get("MASTER_PORT", "29400"),
    }
    place = {"RANK": str(rank), "LOCAL_RANK": str(local), "WORLD_SIZE": str(world)}
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        env={**environ, **rendezvous, **place},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def measure() -> tuple[float, str]:
    """In a rank: (GB/s, backend)."""
    import torch  # heavy
    import torch.distributed as dist

    has_cuda, local = torch.cuda.is_available(), int(os.environ["LOCAL_RANK"])
    backend = "nccl" if has_cuda else "gloo"
    if has_cuda:
        torch.cuda.set_device(local)
    dist.init_process_group(backend, timeout=TIMEOUT)
    numbers = torch.ones((GPU_BYTES if has_cuda else CPU_BYTES) // 4, device="cuda" if has_cuda else "cpu")
    for _ in range(WARM_UP):
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX)
    wait = torch.cuda.synchronize if has_cuda else dist.barrier
    wait()
    began = time.perf_counter()
    for _ in range(ROUNDS):
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX)
    wait()
    seconds = (time.perf_counter() - began) / ROUNDS
    world = dist.get_world_size()
    dist.destroy_process_group()
    return 2 * (world - 1) / world * numbers.numel() * 4 / seconds / 1e9, backend


if __name__ == "__main__":
    print(*measure())
