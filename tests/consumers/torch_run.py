"""What each of the processes does that run exported schedules on PyTorch's pipeline runtime."""

import copy
import json
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import _PipelineScheduleRuntime
from torch.nn.functional import mse_loss

WIDTH, TOKENS, SEQUENCES = 8, 3, 2
"""Of the model; sequences a micro-batch."""


class Block(nn.Module):
    """A normed residual feed-forward block."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.tanh(self.up(self.norm(x))))


def make_chunks(count: int) -> list[nn.Module]:
    """Attention and feed-forward in turn, the same weights in every process."""
    torch.manual_seed(7)
    return [
        nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, dropout=0.0, batch_first=True) if index % 2 else Block()
        for index in range(count)
    ]


def run(rank: int, devices: int, folder: str) -> None:
    """Run every ``*.csv`` of ``folder``; write what came out to ``NAME.RANK.json``."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=devices)
    for path in sorted(Path(folder).glob("*.csv")):
        path.with_suffix(f".{rank}.json").write_text(json.dumps(run_schedule(path, rank)))
    dist.barrier()
    dist.destroy_process_group()


def run_schedule(path: Path, rank: int) -> dict[str, object]:
    """One step of the schedule against the whole model in this process: the losses, and the largest
    difference of any gradient on this rank."""
    rows = path.read_text().splitlines()
    microbatches = 1 + max(int(cell.partition("F")[2]) for row in rows for cell in row.split(",") if "F" in cell)
    held = sorted({int(cell.partition("F")[0]) for cell in rows[rank].split(",") if "F" in cell})
    count = 1 + max(int(cell.partition("F")[0]) for row in rows for cell in row.split(",") if "F" in cell)
    chunks = make_chunks(count)
    whole = copy.deepcopy(chunks)
    x, target = torch.randn(2, microbatches * SEQUENCES, TOKENS, WIDTH)

    stages = [PipelineStage(chunks[chunk], chunk, count, torch.device("cpu")) for chunk in held]
    schedule = _PipelineScheduleRuntime(stages, microbatches, mse_loss)
    schedule._load_csv(str(path), format="compute_only")
    losses: list[Tensor] = []
    arguments = (x,) if 0 in held else ()
    if count - 1 in held:
        schedule.step(*arguments, target=target, losses=losses)
    else:
        schedule.step(*arguments)

    output = x
    for chunk in whole:
        output = chunk(output)
    loss = mse_loss(output, target)
    loss.backward()
    pairs = [
        (ours.grad, alone.grad)
        for chunk in held
        for ours, alone in zip(chunks[chunk].parameters(), whole[chunk].parameters(), strict=True)
    ]
    missing = sum(ours is None for ours, _ in pairs)
    differences = [float((ours - alone).abs().max()) for ours, alone in pairs if ours is not None]
    return {
        "losses": [float(value) for value in losses],
        "alone": float(loss),
        "chunks": held,
        "gradients": len(pairs),
        "missing": missing,
        "largest_difference": max(differences, default=0.0),
        "largest_gradient": max(float(alone.abs().max()) for _, alone in pairs),
    }
