"""What is tried under faults: something that is there, something that is done to it, and what may be found afterwards.

`prepare(root)` makes the store, `act(root)` does what is cut short. What is found afterwards must be what was there
before or what an undisturbed act makes; with `mixed`, node by node and chunk by chunk. `grows` names arrays that are
then grown, and must show nothing but the fill value where they are new.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gpuzarr
from gpuzarr.recover import recover
from gpuzarr.storage import LocalStore, ZipStore
from gpuzarr.storage.atomic import temporary_name
from gpuzarr.storage.contract import Store

Act = Callable[[Path], object]
FILL = -1


@dataclass(frozen=True)
class Scenario:
    name: str
    prepare: Act
    act: Act
    mixed: bool = False
    grows: tuple[str, ...] = ()


def opened(root: Path) -> Store:
    """The store at `root`: an archive or a directory, in any state."""
    return ZipStore(root) if root.suffix == ".zip" else LocalStore(root)


def state(root: Path) -> dict[str, Any]:
    """Everything a reader finds: nodes by path, with their attributes, shapes and values."""
    if root.suffix == ".zip" and not root.exists():
        return {}
    with opened(root) as store:
        return state_of(store)


def state_of(store: Store) -> dict[str, Any]:
    """`state` of a store."""
    found: dict[str, Any] = {}
    for path in paths_of(store):
        node = gpuzarr.open(store, mode="r", path=path, use_consolidated=False)
        if isinstance(node, gpuzarr.Group):
            consolidated = gpuzarr.open_group(store, mode="r", path=path).metadata.consolidated
            found[path] = (dict(node.attrs), consolidated is not None and sorted(consolidated))
        else:
            found[path] = (dict(node.attrs), node.shape, node[...])
    return found


def paths_of(store: Store) -> list[str]:
    """Where there are nodes."""
    documents = ("zarr.json", ".zarray", ".zgroup")
    return sorted({key.rpartition("/")[0] for key in store.list() if key.rpartition("/")[2] in documents})


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two states are the same."""
    return one.keys() == other.keys() and all(_same_node(one[path], other[path]) for path in one)


def _same_node(one: Any, other: Any) -> bool:
    return len(one) == len(other) and one[:2] == other[:2] and (len(one) == 2 or np.array_equal(one[2], other[2]))


def is_mixture(found: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether every node is there that was, and each one, chunk by chunk along the first axis, is as it was before or
    as it is after."""
    if not before.keys() <= found.keys() <= after.keys():
        return False
    return all(
        _mixed_node(node, [each[path] for each in (before, after) if path in each]) for path, node in found.items()
    )


def _mixed_node(node: Any, allowed: list[Any]) -> bool:
    if len(node) == 2:
        return node in allowed
    parts = [slice(start, start + CHUNK) for start in range(0, len(node[2]), CHUNK)]
    return node[:2] in [each[:2] for each in allowed] and all(
        any(np.array_equal(node[2][part], each[2][part]) for each in allowed) for part in parts
    )


# ---- what is done

CHUNK = 4
SHARD = 8
OLD = np.arange(1, 21, dtype="i4")
NEW = np.arange(101, 121, dtype="i4")
LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {"chunks": (CHUNK,)},
    "format 2": {"chunks": (CHUNK,), "zarr_format": 2},
    "shards": {"chunks": (CHUNK,), "shards": (SHARD,)},
}


def array(root: Path, layout: str = "plain", shape: int = 20, **more: Any) -> gpuzarr.Array:
    z = gpuzarr.create_array(
        LocalStore(root), name="g/z", shape=(shape,), dtype="i4", fill_value=FILL, **LAYOUTS[layout], **more
    )
    z[...] = OLD[:shape]
    return z


def handle(root: Path, **more: Any) -> gpuzarr.Array:
    return gpuzarr.open_array(LocalStore(root, **more), path="g/z")


def made(layout: str, shape: int = 20) -> Act:
    return lambda root: array(root, layout, shape)


def overwrite(durability: str) -> Act:
    def act(root: Path) -> None:
        with LocalStore(root, durability=durability) as store:  # type: ignore[arg-type]
            gpuzarr.open_array(store, path="g/z")[...] = NEW

    return act


def partial(root: Path) -> None:
    z = handle(root)
    z[1:3] = NEW[1:3]
    z[6:9] = NEW[6:9]


def empty_chunks(root: Path) -> None:
    handle(root)[2:14] = FILL


def append(count: int, **more: Any) -> Act:
    return lambda root: handle(root, **more).append(NEW[:count])


def resize(size: int) -> Act:
    return lambda root: handle(root).resize(size)


def leftovers(layout: str) -> Act:
    """An array whose chunks hold more than its shape says, as a shrink leaves it that died at its first step."""

    def prepare(root: Path) -> None:
        z = array(root, layout)
        store, path = z.store, "g/.zarray" if layout == "format 2" else "g/zarr.json"
        document = "g/z/" + path.rpartition("/")[2]
        data = bytes(store.get(document) or b"")
        store.set(document, data.replace(b"20", b"10", 1))
        assert handle(root).shape == (10,)

    return prepare


def create(root: Path) -> None:
    z = gpuzarr.create_array(LocalStore(root), name="g/new/z", shape=(6,), chunks=(4,), dtype="i4", attributes={"a": 1})
    assert z.shape == (6,)


def create_v2(root: Path) -> None:
    gpuzarr.create_group(LocalStore(root), path="two/g", zarr_format=2, attributes={"a": 1})


def hierarchy(root: Path) -> None:
    group = gpuzarr.open_group(LocalStore(root), path="g")
    group.attrs["n"] = 1


def attributes(root: Path) -> None:
    handle(root).attrs.update({"b": 2, "c": [3, {"d": None}]})


def delete(root: Path) -> None:
    del gpuzarr.open_group(LocalStore(root))["g/z"]


def moving(root: Path) -> None:
    array(root)
    gpuzarr.create_group(LocalStore(root), path="g/h")


def move(root: Path) -> None:
    gpuzarr.open_group(LocalStore(root), path="g").move("z", "h/y")


def consolidate(root: Path) -> None:
    gpuzarr.consolidate_metadata(LocalStore(root))


def groups(zarr_format: int) -> Act:
    def prepare(root: Path) -> None:
        for name in ("a", "b/c"):
            z = gpuzarr.create_array(LocalStore(root), name=name, shape=(4,), dtype="i4", zarr_format=zarr_format)  # type: ignore[arg-type]
            z[...] = 1

    return prepare


def replace_node(root: Path) -> None:
    gpuzarr.create_array(LocalStore(root), name="g/z", data=NEW[:9], chunks=(2,), overwrite=True)


def replace_root(root: Path) -> None:
    gpuzarr.save_array(root, NEW, mode="w")


def replace_root_safely(root: Path) -> None:
    gpuzarr.save_group(LocalStore(root, durability="fsync"), a=NEW[:5], b=NEW[5:])


def emptied(root: Path) -> None:
    gpuzarr.open_group(LocalStore(root), mode="w", attributes={"new": 1})


def archive(root: Path) -> None:
    with ZipStore(root, mode="w") as store:
        z = gpuzarr.create_array(store, name="g/z", shape=(20,), chunks=(4,), dtype="i4")
        z[...] = OLD


def add_to_archive(root: Path) -> None:
    with ZipStore(root, mode="a") as store:
        z = gpuzarr.open_array(store, path="g/z")
        z[2:9] = NEW[2:9]


def append_to_archive(root: Path) -> None:
    with ZipStore(root, mode="a") as store:
        gpuzarr.open_array(store, path="g/z").append(NEW[:3])


def new_archive(root: Path) -> None:
    with ZipStore(root, mode="w") as store:
        gpuzarr.create_array(store, data=NEW)


def littered(root: Path) -> None:
    """What `recover` is for."""
    z = array(root)
    gpuzarr.consolidate_metadata(z.store)
    child = os.fork()
    if not child:
        try:
            (root / "g" / temporary_name()).write_bytes(b"half")
            shutil.copytree(root / "g", root / temporary_name())
            shutil.copytree(root / "g", root.parent / temporary_name(root.name))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    (root / "g/z/c/0.__gzlock").touch()
    for key in ("g/z/c/5", "g/z/c/77"):
        z.store.set(key, b"beyond")


def mend(root: Path) -> None:
    list(recover(LocalStore(root)))


SCENARIOS = [
    *[Scenario(f"overwrite, {d}", made("plain"), overwrite(d), mixed=True) for d in ("rename", "batch", "fsync")],
    *[Scenario(f"overwrite, {each}", made(each), overwrite("rename"), mixed=True) for each in ("shards", "format 2")],
    *[Scenario(f"partial, {each}", made(each), partial, mixed=True) for each in LAYOUTS],
    *[Scenario(f"empty chunks, {each}", made(each), empty_chunks, mixed=True) for each in ("plain", "shards")],
    *[Scenario(f"append, {each}", made(each), append(20), grows=("g/z",)) for each in LAYOUTS],
    *[Scenario(f"append to a part, {each}", made(each, 10), append(3), grows=("g/z",)) for each in LAYOUTS],
    Scenario("append, fsync", made("plain", 10), append(9, durability="fsync"), grows=("g/z",)),
    Scenario("append, batch", made("shards", 10), append(9, durability="batch"), grows=("g/z",)),
    *[Scenario(f"append over leftovers, {each}", leftovers(each), append(3), grows=("g/z",)) for each in LAYOUTS],
    *[Scenario(f"shrink, {each}", made(each), resize(6), grows=("g/z",)) for each in LAYOUTS],
    Scenario("shrink to nothing", made("plain"), resize(0), grows=("g/z",)),
    *[Scenario(f"grow, {each}", leftovers(each), resize(15), grows=("g/z",)) for each in LAYOUTS],
    Scenario("create", made("plain"), create, mixed=True),
    Scenario("create in format 2", made("plain"), create_v2, mixed=True),
    Scenario("attributes of a group", made("plain"), hierarchy),
    *[Scenario(f"attributes, {each}", made(each), attributes) for each in ("plain", "format 2")],
    Scenario("delete", made("plain"), delete),
    Scenario("move", moving, move),
    *[Scenario(f"consolidate, format {form}", groups(form), consolidate) for form in (2, 3)],
    Scenario("replace a node", made("plain"), replace_node),
    Scenario("replace the root", made("plain"), replace_root),
    Scenario("replace the root, fsync", made("plain"), replace_root_safely),
    Scenario("empty the root", made("plain"), emptied),
    Scenario("add to an archive", archive, add_to_archive, mixed=True),
    Scenario("append to an archive", archive, append_to_archive),
    Scenario("replace an archive", archive, new_archive),
    Scenario("new archive", lambda root: None, new_archive),
    Scenario("recover", littered, mend),
]
