"""Loss of power, simulated: a life of a store is recorded, and cut off everywhere, in every way that a disk may.

    python -m tests.faults.power --states 100000

With `durability="fsync"` and "batch", in any order of what is lost: what was promised (by the return of a write, or of
`flush`) is there, and the step that was under way is done or not done, chunk by chunk ("batch": a chunk that had no
predecessor may be found damaged). With "rename", on a disk with a
journal: whatever is read is something that was written, or an error; never the fill value in the place of data.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.errors import GpuzarrError
from gpuzarr.storage import LocalStore, MemoryStore
from tests.faults.disk import Change, Model, Recorder, states
from tests.faults.points import say
from tests.faults.scenarios import CHUNK, FILL, LAYOUTS, NEW, OLD, is_mixture, paths_of, same, state_of

Step = Callable[[LocalStore], object]
KINDS: dict[str, tuple[Any, Model]] = {
    "fsync": ("fsync", "any order"),
    "batch": ("batch", "any order"),
    "rename": ("rename", "journal"),
}


def life(layout: str) -> list[Step]:
    """What is done to a store, step by step."""

    plain: dict[str, Any] = {"chunks": (CHUNK,), "fill_value": FILL}

    def z(store: LocalStore) -> gpuzarr.Array:
        return gpuzarr.open_array(store, path="g/z")

    def create(store: LocalStore) -> None:
        gpuzarr.create_array(store, name="g/z", shape=(20,), dtype="i4", fill_value=FILL, **LAYOUTS[layout])

    return [
        create,
        lambda store: z(store).set_basic_selection(..., OLD),
        lambda store: z(store).set_basic_selection(slice(2, 7), NEW[2:7]),
        lambda store: z(store).append(NEW[:7]),
        lambda store: z(store).attrs.update(a=1),
        lambda store: z(store).set_basic_selection(slice(4, 12), FILL),
        lambda store: z(store).resize(14),
        lambda store: z(store).resize(22),
        lambda store: z(store).append(OLD[:6]),
        lambda store: gpuzarr.create_array(store, name="g/y", shape=(6,), dtype="i4", **plain),
        lambda store: gpuzarr.open_array(store, path="g/y").set_basic_selection(..., OLD[:6]),
        lambda store: gpuzarr.consolidate_metadata(store),
        lambda store: gpuzarr.create_array(
            store, name="g/z", data=NEW, chunks=(CHUNK,), fill_value=FILL, overwrite=True
        ),
        lambda store: gpuzarr.open_group(store, path="g").__delitem__("y"),
        lambda store: gpuzarr.save_group(store, z=OLD),
    ]


def recorded(layout: str, durability: Any) -> tuple[list[Change], list[dict[str, Any]]]:
    """The changes of a life, with a mark where each step was promised; and the states between steps."""
    gpuzarr.config.set({"threading.max_workers": 1})
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        root = Path(directory).resolve()
        recorder = Recorder(root)
        store = LocalStore(root / "s", durability=durability)
        found: list[dict[str, Any]] = [{}]
        recorder.record(patch)
        for step in life(layout):
            step(store)
            store.flush()
            recorder.mark()
            found.append(state_of(store))
    return recorder.changes, found


def judged(objects: dict[str, bytes], history: list[dict[str, Any]], promised: int, durability: str) -> str | None:
    """What is wrong with a state in which `promised` steps were done for sure; None where nothing is."""
    store = MemoryStore({key.removeprefix("s/"): value for key, value in objects.items() if key.startswith("s/")})
    if durability == "rename":
        return _silently_wrong(store, history[: promised + 2])
    try:
        found = state_of(_without_new_damage(store, history[promised]) if durability == "batch" else store)
    except GpuzarrError as error:
        return f"cannot be read: {error!r}"
    allowed = history[promised : promised + 2]
    if any(same(found, each) for each in allowed) or is_mixture(found, allowed[0], allowed[-1]):
        return None
    return f"neither the state before the step nor the one after it:\n{found}"


def _without_new_damage(store: MemoryStore, promised: dict[str, Any]) -> MemoryStore:
    """The store without chunks that are damaged and were not there, or not of this array, when it was promised."""
    kept = {key: store.get(key) for key in store.list()}
    for path in paths_of(store):
        node = gpuzarr.open(store, mode="r", path=path, use_consolidated=False)
        for key, error in node.check_chunks() if isinstance(node, gpuzarr.Array) else ():
            number = int(re.findall(r"\d+", key)[-1])
            size = node.shards[0] if node.shards else node.chunks[0]
            part = promised[path][2][number * size : (number + 1) * size] if path in promised else np.empty(0)
            if error is not None and (part == FILL).all():
                del kept[key]
    return MemoryStore(kept)


def _silently_wrong(store: MemoryStore, history: list[dict[str, Any]]) -> str | None:
    """Whatever can be read was written at some time."""
    for path in paths_of(store):
        try:
            node = gpuzarr.open(store, mode="r", path=path, use_consolidated=False)
        except GpuzarrError:
            continue
        known = [each[path] for each in history if path in each]
        if isinstance(node, gpuzarr.Group):
            continue
        if node.shape not in [each[1] for each in known]:
            return f"{path!r} never had the shape {node.shape}"
        for start in range(0, node.shape[0], CHUNK):
            part = slice(start, min(start + CHUNK, node.shape[0]))
            try:
                values = node[part]
            except GpuzarrError:
                continue
            if not any(np.array_equal(values, _part(each[2], part)) for each in known):
                return f"{path!r} never held {values} at {start}"
    return None


def _part(values: np.ndarray, part: slice) -> np.ndarray:
    """A part as a larger array would have it."""
    found = values[part]
    return np.concatenate([found, np.full(part.stop - part.start - len(found), FILL, values.dtype)])


def run(budget: int, seed: int, durabilities: list[str], layouts: list[str]) -> tuple[int, list[str]]:
    """Judge at least `budget` states in all; how many there were, and what was wrong."""
    rng, judged_states, wrong = random.Random(seed), 0, list[str]()
    lives = [(d, layout, *recorded(layout, KINDS[d][0])) for d in durabilities for layout in layouts]
    each = -(-budget // sum(len(changes) for _, _, changes, _ in lives))
    for durability, layout, changes, history in lives:
        for k in range(len(changes) + 1):
            promised = sum(change.kind == "mark" for change in changes[:k])
            if promised == len(history) - 1:
                history = [*history, history[-1]]
            for number, objects in enumerate(states(changes, k, KINDS[durability][1], each, rng)):
                judged_states += 1
                found = judged(objects, history, promised, durability)
                if found:
                    wrong.append(f"{durability}, {layout}, after {k} changes, state {number}: {found}")
                    if len(wrong) == 20:
                        return judged_states, wrong
    return judged_states, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="Simulated losses of power.")
    parser.add_argument("--states", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--durability", choices=list(KINDS), action="append")
    parser.add_argument("--layout", choices=list(LAYOUTS), action="append")
    arguments = parser.parse_args()
    count, wrong = run(
        arguments.states, arguments.seed, arguments.durability or [*KINDS], arguments.layout or [*LAYOUTS]
    )
    for each in wrong:
        say(f"FAILED {each}")
    say(json.dumps({"states": count, "failures": len(wrong)}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
