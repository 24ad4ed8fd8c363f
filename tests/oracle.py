"""Arrays of every kind beside NumPy arrays that hold the same, and random selections that both must agree on.

`check(seed, selections, folder, device)` makes an array of random shape, data type, chunking, codecs and store, and
reads and writes so many random selections of it on a device, and resizes it now and then. A failure names its seed,
which gives the same case again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import gpuzarr
from gpuzarr import stored
from gpuzarr.devices import get_device
from gpuzarr.storage import LocalStore, MemoryStore

Rng = np.random.Generator

DTYPES: list[Any] = [
    "i4",
    "f8",
    "u1",
    ">i2",
    ">f4",
    "?",
    "f2",
    "c8",
    "M8[ns]",
    "m8[s]",
    "U3",
    "S4",
    [("a", "<i4"), ("b", "<f8")],
    [("x", "u1"), ("y", "<i8"), ("z", "<M8[s]")],
    str,
    "bytes",
]
NUMBERS: list[Any] = ["i4", "f8", "u1", "i2", "?", "f2", "c8", "u8", "i1", ">f4"]  # what GPUs have


# ---- values


def values_of(rng: Rng, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Random values, many of them zero, so that chunks full of the fill value occur."""
    numbers = rng.integers(0, 100, shape) * (rng.random(shape) < 0.7)
    return as_dtype(numbers, dtype)


def as_dtype(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.names:
        out = np.zeros(numbers.shape, dtype)
        for name in dtype.names:
            out[name] = as_dtype(numbers, dtype[name])
        return out
    if dtype.kind in "UST" or dtype.hasobject:
        words = np.array(["", "a", "bé", "ccc"], object)[numbers % 4]
        if dtype.kind == "S":
            words = np.array([b"", b"a", b"bb", b"cccc"], object)[numbers % 4]
        if dtype.hasobject:
            words = np.array([b"", b"a", b"b\0b", b"ccccc"], object)[numbers % 4]
        return np.asarray(words, dtype)
    if dtype.kind == "f":
        return np.where(numbers == 7, np.nan, numbers / 4).astype(dtype)
    return numbers.astype(dtype)


def on_host(values: Any) -> Any:
    """A host copy of a device array; anything else as it is."""
    return values.get() if type(values).__name__ != "ndarray" and hasattr(values, "get") else values


def same(got: Any, want: Any) -> bool:
    if type(got).__name__ != "ndarray" and hasattr(got, "get"):  # no GPU has elements in another byte order
        want = want.astype(want.dtype.newbyteorder("="))
    if isinstance(got, str | bytes):  # an array of no axes reads as a scalar; these know no data type
        got = np.asarray(got, want.dtype)
    got, want = np.asarray(on_host(got)), np.asarray(on_host(want))
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    if got.dtype.hasobject or got.dtype.kind == "T":
        return bool(got.tolist() == want.tolist())
    if got.dtype.names:
        return all(same(got[name], want[name]) for name in got.dtype.names)
    return np.array_equal(got, want, equal_nan=got.dtype.kind in "fcmM")


# ---- arrays


def sizes(rng: Rng, length: int) -> list[int]:
    """Lengths of chunks that make up an axis."""
    out: list[int] = []
    while sum(out) < length:
        out.append(int(rng.integers(1, 6)))
    return [*out[:-1], out[-1] - sum(out) + length] if out else [1]


def one_codec(rng: Rng) -> list[dict[str, Any]]:
    return [
        [],
        [{"name": "zstd", "configuration": {"level": 1, "checksum": False}}],
        [{"name": "gzip", "configuration": {"level": 1}}],
        [{"name": "crc32c"}],
        [
            {
                "name": "blosc",
                "configuration": {"cname": "lz4", "clevel": 3, "shuffle": "noshuffle", "blocksize": 0},
            },
            {"name": "crc32c"},
        ],
    ][rng.integers(0, 5)]


def transposed(rng: Rng, ndim: int) -> list[dict[str, Any]]:
    order = [int(i) for i in rng.permutation(ndim)]
    return [{"name": "transpose", "configuration": {"order": order}}] if rng.random() < 0.4 and ndim else []


def sharding(rng: Rng, chunk: tuple[int, ...], inside: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": list(chunk),
            "codecs": inside,
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
            "index_location": ["start", "end"][rng.integers(0, 2)],
        },
    }


def serializer(dtype: Any) -> dict[str, Any]:
    if dtype is str:
        return {"name": "vlen-utf8"}
    if dtype == "bytes":
        return {"name": "vlen-bytes"}
    return {"name": "bytes", "configuration": {"endian": "big" if dtype == ">f4" else "little"}}


def make_array(rng: Rng, folder: str, number: int, dtypes: list[Any] = DTYPES) -> tuple[gpuzarr.Array, str]:
    """An array of a random kind and one of these data types, and its description."""
    ndim = int(rng.choice([0, 1, 1, 2, 2, 2, 3, 3, 4]))
    shape = tuple(int(n) for n in rng.integers(1, [2, 60, 24, 12, 7][ndim], ndim))
    if ndim and rng.random() < 0.04:
        shape = (0, *shape[1:])
    chunks = tuple(int(rng.integers(1, max(2, min(n + 3, 9)))) for n in shape)
    dtype = dtypes[rng.integers(0, len(dtypes))]
    kind = str(rng.choice(["v2", "plain", "sharded", "nested", "around", "rectilinear", "rectilinear shards"]))
    name = f"a{number}"
    store = LocalStore(folder) if rng.random() < 0.3 else MemoryStore()
    common: dict[str, Any] = {
        "shape": shape,
        "name": name,
        "dtype": {"bytes": "variable_length_bytes"}.get(dtype, dtype) if isinstance(dtype, str) else dtype,
        "config": {"order": "CF"[rng.integers(0, 2)], "write_empty_chunks": bool(rng.random() < 0.2)},
        "cache_bytes": int(rng.choice([0, 0, 300, 1 << 20])),
    }
    if rng.random() < 0.3 and isinstance(dtype, str) and dtype in ("i4", "f8", "u1", ">i2", ">f4"):
        common["fill_value"] = 7
    if ndim == 0 and kind.startswith("rect"):
        kind = "plain"
    if kind == "v2" and dtype != "bytes":
        array = gpuzarr.create_array(
            store,
            chunks=chunks,
            zarr_format=2,
            order="CF"[rng.integers(0, 2)],
            chunk_key_encoding={"name": "v2", "separator": "./"[rng.integers(0, 2)]},
            **common,
        )
        return array, f"v2 {array.metadata}"
    inner = [*transposed(rng, ndim), serializer(dtype), *one_codec(rng)]
    if kind in ("sharded", "nested", "around", "rectilinear shards"):
        unit = chunks
        chunks = tuple(c * int(rng.integers(1, 4)) for c in unit)
        inner = [sharding(rng, unit, inner)]
    if kind == "nested":
        unit, chunks = chunks, tuple(c * int(rng.integers(1, 3)) for c in chunks)
        inner = [sharding(rng, unit, inner)]
    if kind == "around":
        inner = [*transposed(rng, ndim) * (len(set(unit)) <= 1 and len(set(chunks)) <= 1), *inner, {"name": "crc32c"}]
    grid: Any = chunks
    if kind == "rectilinear":
        grid = [sizes(rng, n) for n in shape]
    if kind == "rectilinear shards":
        grid = [[u * s for s in sizes(rng, -(-n // u))] for n, u in zip(shape, unit, strict=True)]
        common["shape"] = tuple(map(sum, grid))
    array = gpuzarr.create_array(store, chunks=grid, codecs=inner, **common)
    if array.shape != shape:  # the last shard reaches over the edge
        array.resize(shape)
    return array, f"{kind} {array.metadata}"


# ---- selections: each gives a key (for messages), a read of the array, and an index for NumPy


def random_slice(rng: Rng, n: int) -> slice:
    step = int(rng.choice([1, 1, 1, 2, 3, 7, -1, -2, -5]))
    start, stop = (None if rng.random() < 0.3 else int(rng.integers(-n - 2, n + 3)) for _ in range(2))
    return slice(start, stop, None if step == 1 and rng.random() < 0.5 else step)


def random_indices(rng: Rng, n: int) -> np.ndarray:
    count = int(rng.integers(0, 12)) if n else 0
    found = rng.integers(-n, n, count) if n else np.zeros(0, int)
    return np.sort(found) if rng.random() < 0.3 else found


def basic_key(rng: Rng, shape: tuple[int, ...]) -> tuple[Any, ...]:
    key: list[Any] = [int(rng.integers(-n, n)) if n and rng.random() < 0.25 else random_slice(rng, n) for n in shape]
    if rng.random() < 0.3:
        at = int(rng.integers(0, len(key) + 1))
        key[at : at + int(rng.integers(0, 3))] = [Ellipsis]
    elif rng.random() < 0.2:
        key = key[: int(rng.integers(0, len(key) + 1))]
    return tuple(key)


def orthogonal_key(rng: Rng, shape: tuple[int, ...]) -> tuple[Any, ...]:
    key: list[Any] = []
    for n in shape:
        kind = rng.integers(0, 5)
        if kind == 0 and n:
            key.append(int(rng.integers(-n, n)))
        elif kind == 1:
            key.append(random_slice(rng, n))
        elif kind == 2:
            key.append(rng.random(n) < 0.5)
        else:
            key.append(random_indices(rng, n))
    return tuple(key)


def as_lists(key: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """The elements that an orthogonal key takes of each axis."""
    out = []
    for entry, n in zip(key, shape, strict=True):
        if isinstance(entry, np.ndarray) and entry.dtype == bool:
            entry = np.flatnonzero(entry)
        out.append(np.atleast_1d(np.arange(n)[entry]))
    return tuple(out)


def coordinate_key(rng: Rng, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    count = tuple(int(n) for n in rng.integers(0 if 0 in shape else 1, 5, int(rng.integers(1, 3))))
    if 0 in shape:
        count = (0,)
    key = [rng.integers(-n, n, count) if n else np.zeros(0, int) for n in shape]
    if len(key) > 1 and len(count) == 2 and rng.random() < 0.4:
        key[0], key[1] = key[0][:, :1], key[1][:1, :]
    return tuple(key)


Selected = tuple[str, Callable[[Any], Any], Callable[[Any, Any], None], Any, tuple[int, ...]]
"""What it is; read from a Zarr array; write to one; index for NumPy; shape of the result."""


def pick(rng: Rng, z: gpuzarr.Array, a: np.ndarray) -> Selected:
    """A random selection."""
    kind = str(rng.choice(["basic", "basic", "oindex", "vindex", "mask", "block", "one array", "lazy"]))
    if not a.ndim and kind != "lazy":
        kind = "basic"
    match kind:
        case "basic":
            key = basic_key(rng, a.shape)
            return f"[{key}]", lambda z: z[key], lambda z, v: z.__setitem__(key, v), key, np.shape(a[key])
        case "oindex":
            key = orthogonal_key(rng, a.shape)
            mesh = np.ix_(*as_lists(key, a.shape))
            shape = tuple(m.size for m, k in zip(mesh, key, strict=True) if not isinstance(k, int))
            return f"oindex[{key}]", lambda z: z.oindex[key], lambda z, v: z.oindex.__setitem__(key, v), mesh, shape
        case "vindex":
            key = coordinate_key(rng, a.shape)
            return (
                f"vindex[{key}]",
                lambda z: z.vindex[key],
                lambda z, v: z.vindex.__setitem__(key, v),
                key,
                np.shape(a[key]),
            )
        case "mask":
            mask = rng.random(a.shape) < rng.choice([0.05, 0.5, 1.0])
            door = ["vindex", "get_mask_selection"][rng.integers(0, 2)]
            if door == "vindex":
                return "mask", lambda z: z.vindex[mask], lambda z, v: z.vindex.__setitem__(mask, v), mask, a[mask].shape
            return (
                "get_mask_selection",
                lambda z: z.get_mask_selection(mask),
                lambda z, v: z.set_mask_selection(mask, v),
                mask,
                a[mask].shape,
            )
        case "block" if 0 not in a.shape:
            return random_block(rng, z, a)
        case "lazy":
            return random_view(rng, a)
    axis = int(rng.integers(0, a.ndim))  # one list of integers, or one of bools, beside slices
    taken: Any = rng.random(a.shape[axis]) < 0.5 if rng.random() < 0.3 else random_indices(rng, a.shape[axis]).tolist()
    if isinstance(taken, list) and not taken:
        taken = slice(0, 0)
    key = (slice(None),) * axis + (taken,) + (Ellipsis,) * (rng.random() < 0.5)
    return f"[{key}]", lambda z: z[key], lambda z, v: z.__setitem__(key, v), key, np.shape(a[key])


def random_block(rng: Rng, z: gpuzarr.Array, a: np.ndarray) -> Selected:
    key: list[Any] = []
    index: list[slice] = []
    for lengths in z.write_chunk_sizes:
        edges = np.cumsum([0, *lengths])
        low = int(rng.integers(0, len(lengths)))
        if rng.random() < 0.5:
            key.append(low - (len(lengths) if rng.random() < 0.3 else 0))
            index.append(slice(edges[low], edges[low + 1]))
        else:
            high = int(rng.integers(low, len(lengths) + 1))
            key.append(slice(low, high))
            index.append(slice(edges[low], edges[high]))
    chosen, at = tuple(key), tuple(index)
    return (
        f"blocks[{chosen}]",
        lambda z: z.blocks[chosen],
        lambda z, v: z.blocks.__setitem__(chosen, v),
        at,
        a[at].shape,
    )


def random_view(rng: Rng, a: np.ndarray) -> Selected:
    """A view of a view of a view, told to NumPy as the positions of its elements."""
    places = np.arange(a.size).reshape(a.shape)
    steps: list[tuple[str, Any]] = []
    for _ in range(int(rng.integers(1, 4))):
        door = str(rng.choice(["basic", "oindex", "vindex"])) if places.ndim else "basic"
        if door == "basic":
            key: Any = basic_key(rng, places.shape)
            places = np.asarray(places[key])
        elif door == "oindex":
            key = orthogonal_key(rng, places.shape)
            gone = tuple(i for i, k in enumerate(key) if isinstance(k, int))
            places = places[np.ix_(*as_lists(key, places.shape))].squeeze(gone)
        else:
            key = coordinate_key(rng, places.shape)
            places = places[key]
        steps.append((door, key))

    def view(z: gpuzarr.Array) -> Any:
        found: Any = z.lazy
        for door, key in steps:
            found = (found if door == "basic" else getattr(found, door))[key]
        return found

    index = np.unravel_index(places, a.shape) if a.ndim else ()
    return f"lazy {steps}", lambda z: view(z).result(), lambda z, v: view(z).write(v), index, places.shape


# ---- the check


def read(rng: Rng, z: gpuzarr.Array, a: np.ndarray) -> None:
    what, get, _, index, shape = pick(rng, z, a)
    want = np.asarray(a[index], a.dtype).reshape(shape)
    got = get(z)
    assert isinstance(got, z.device.xp.ndarray) or z.device.kind == "cpu"
    assert same(got, want), f"read {what}:\n{got!r}\n{want!r}"


def read_fields(rng: Rng, z: gpuzarr.Array, a: np.ndarray) -> None:
    key = basic_key(rng, a.shape)
    names = [n for n in z.dtype.names if rng.random() < 0.6] or z.dtype.names[0]
    got, want = z[(names, *key) if rng.random() < 0.5 else (*key, names)], a[key][names]
    assert same(got, want), f"fields {names} of {key}:\n{got!r}\n{want!r}"


def read_out(rng: Rng, z: gpuzarr.Array, a: np.ndarray) -> None:
    key = orthogonal_key(rng, a.shape)
    gone = tuple(i for i, k in enumerate(key) if isinstance(k, int))
    want = a[np.ix_(*as_lists(key, a.shape))].squeeze(gone) if a.ndim else a
    room = z.device.upload(np.zeros(tuple(2 * n + 1 for n in want.shape), want.dtype, "CF"[rng.integers(0, 2)]))
    out = room[(*(slice(0, 2 * n, 2) if rng.random() < 0.5 else slice(n) for n in want.shape), Ellipsis)]
    got = z.get_orthogonal_selection(key, out=out) if a.ndim else z.get_basic_selection((), out=out)
    assert got is out
    assert same(out, want), f"out= {key}:\n{out!r}\n{want!r}"


def write(rng: Rng, z: gpuzarr.Array, a: np.ndarray) -> None:
    what, _, put, index, shape = pick(rng, z, a)
    value: Any = values_of(rng, a.dtype, shape)[...]
    form = str(rng.choice(["whole", "scalar", "broadcast", "array", "strided", "list"]))
    if form == "scalar" or (form == "broadcast" and not shape):
        value = values_of(rng, a.dtype, ())[()]
    elif form == "broadcast":
        value = values_of(rng, a.dtype, (1, *shape[1:]) if rng.random() < 0.5 else shape[1:])
    elif form == "strided":
        value = np.asfortranarray(np.repeat(value, 2, -1))[..., ::2] if shape else value
    given: Any = value
    if form == "array" and value.size:
        given = gpuzarr.array(value, store={}) if value.ndim and not value.dtype.hasobject else value
    elif form == "list" and value.ndim and value.size and not a.dtype.names and a.dtype.kind not in "mM":
        given = value.tolist()
    elif z.device.kind == "gpu" and rng.random() < 0.7:
        given = z.device.upload(np.asarray(value, a.dtype))
    wide = np.broadcast_to(value, shape)
    if isinstance(index, tuple) and what.startswith("oindex"):
        wide = wide.reshape([m.size for m in index])
    elif what.startswith("lazy") and not a.ndim:
        wide = wide.reshape(())
    a[index] = wide if wide.ndim else wide[()]
    put(z, given)
    got = z[...]
    assert same(got, a), f"write {form} to {what}:\n{got!r}\n{a!r}"


def write_fields(rng: Rng, z: gpuzarr.Array, a: np.ndarray) -> None:
    key, name = basic_key(rng, a.shape), z.dtype.names[0]
    value = int(rng.integers(0, 50))
    a[name][key] = value
    z[(name, *key)] = value
    assert same(z[...], a), f"write field {name} of {key}"


def resize(rng: Rng, z: gpuzarr.Array, a: np.ndarray) -> np.ndarray:
    """Give the array another shape; what NumPy has for it."""
    shape = tuple(int(rng.integers(0, n + 5)) if rng.random() < 0.5 else n for n in a.shape)
    z.resize(shape)
    out = np.empty(shape, a.dtype)
    out[...] = z.metadata.fill_or_default
    common = tuple(slice(0, min(n, m)) for n, m in zip(shape, a.shape, strict=True))
    out[common] = a[common]
    assert same(z[...], out), f"resize from {a.shape} to {shape}"
    return out


def check(seed: int, selections: int, folder: str, name: str = "cpu") -> int:
    """One array, so many selections of it on the device of this name; returns how many were compared."""
    rng = np.random.default_rng(seed)
    device: Any = get_device(name)
    before, saved = device.wave_bytes, (stored.LEAST_SPARED, stored.LEAST_BLOCKS, stored.LEAST_ALONE)
    if rng.random() < 0.5:  # read parts of chunks, however small
        stored.LEAST_SPARED = stored.LEAST_BLOCKS = stored.LEAST_ALONE = 0
    device.wave_bytes = int(rng.choice([before, 10, 200]))  # small waves: several a read, on several threads
    z, what = make_array(rng, folder, seed, DTYPES if name == "cpu" else NUMBERS)
    z = z if name == "cpu" else z.to_device(name)
    try:
        a = np.empty(z.shape, z.dtype)
        a[...] = z.metadata.fill_or_default
        assert same(z[...], a), "new array"
        if rng.random() < 0.9:
            a[...] = values_of(rng, a.dtype, a.shape)
            z[...] = a
        for _ in range(selections):
            doers: list[Callable[[Rng, gpuzarr.Array, np.ndarray], None]] = [read, read, write, read_out]
            if z.dtype.names:
                doers += [read_fields, write_fields]
            doers[rng.integers(0, len(doers))](rng, z, a)
            if a.ndim and rng.random() < 0.05:
                a = resize(rng, z, a)
        again = gpuzarr.open_array(z.store, path=z.path)
        assert same(again[...], a), "opened again"
        assert [error for _, error in again.check_chunks() if error is not None] == []
    except Exception as error:
        raise AssertionError(f"seed {seed} on {name}, {what}\nchunks {z.write_chunk_sizes}") from error
    finally:
        device.wave_bytes, (stored.LEAST_SPARED, stored.LEAST_BLOCKS, stored.LEAST_ALONE) = before, saved
    return selections
