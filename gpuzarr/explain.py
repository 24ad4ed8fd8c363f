"""The plan and the route of a read, as text."""

from __future__ import annotations

from importlib import import_module
from math import ceil

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.devices import Device
from gpuzarr.options import config
from gpuzarr.plan import plan_chunks, plan_shards
from gpuzarr.selection import Selection
from gpuzarr.stored import StoredArray


def explain(stored: StoredArray, selection: Selection) -> str:
    """Five lines: what is read, the plan, the requests, the engine of each codec, and how chunks are placed."""
    meta, device = stored.metadata, stored.device
    chain = stored.inner_chain if stored.sharding is not None else stored.chain
    if stored.sharding is not None:
        split = plan_shards(stored.inner_grid, stored.grid, selection)
        parts = split.rows
        waves = split.size * ceil(split.largest / stored.pace(parts, selection).rows)
        plan = f"{parts} inner chunks of {_times(chain.spec.shape)} in {split.size} shards, {waves} waves"
        fetch = f"byte ranges of {split.size} shards, after their indexes"
    else:
        parts = plan_chunks(stored.grid, selection).size
        plan = f"{parts} chunks of {_times(chain.spec.shape)}, {ceil(parts / stored.pace(parts, selection).rows)} waves"
        fetch = f"{parts} whole objects"
    lines = [
        f"read {selection.shape} of {meta.shape} {meta.dtype} on {device.name}",
        f"  plan    {plan} of at most {stored.wave_bytes(device) >> 20} MiB on {device.lanes} lanes",
        f"  fetch   {type(stored.store).__name__}: {fetch}{_straight(stored)}",
        f"  decode  {_route(chain, device)}",
        f"  place   {_place(chain, device)}",
    ]
    return "\n".join(lines)


def _straight(stored: StoredArray) -> str:
    """How files get to a GPU, where there is a choice."""
    if stored.device.kind == "cpu" or import_module("gpuzarr.fetch_to_gpu").straight(stored) is None:
        return ""
    way = config.get("gpu.file_reads")
    return f", {'by the host or by KvikIO, whichever is quicker' if way == 'auto' else 'straight by KvikIO'}"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one element"


def _route(chain: CodecChain, device: Device) -> str:
    if device.kind == "cpu":
        return " -> ".join(f"{codec.name}@cpu" for codec in reversed(chain.codecs))
    trusted = bool(config.get("codecs.trusted"))
    steps = import_module("gpuzarr.codecs.engines.gpu").engine_for(chain, device, trusted).route
    places = (f"{s.codec}@{device.name if s.place == 'gpu' else 'cpu'}{f' ({s.why})' if s.why else ''}" for s in steps)
    return " -> ".join(places)


def _place(chain: CodecChain, device: Device) -> str:
    if device.kind == "gpu":
        return "one launch a wave"
    return "straight into the destination where a chunk is contiguous there" if chain.lands else "by copy"
