"""The consumers that skip schedules are exported to. Imports nothing: the command line lists them."""

NO_SKIPPING = {
    "torch-csv": "torch.distributed.pipelining",
    "torchtitan": "torchtitan",
    "megatron": "Megatron-LM",
    "deepspeed": "DeepSpeed's PipelineModule",
}
"""Runtimes that run every stage of every micro-batch and as many micro-batches in every pipeline: asked for what does
not, they say so by name."""

SKIP_TARGETS = {
    "skippipe": "schedule.json of SkipPipe's executor: partitions, paths, memory, locations, sends",
    "chrome-trace": "the planned order for Perfetto or chrome://tracing, a process a node",
    **{name: f"refused: {runtime} runs every stage" for name, runtime in NO_SKIPPING.items()},
}
