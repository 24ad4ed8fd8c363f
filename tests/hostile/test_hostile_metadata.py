"""Hostile metadata: every threat of the list, and the test that it is met by.

Each case is a store and what must come of it: the values, or an error of our own. All of them run on the CPU and on the
emulated device, within bounds of memory and time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.errors import (
    DataTypeValidationError,
    GpuzarrError,
    KeyValidationError,
    LimitError,
    MetadataError,
    PickleCodecDisabledError,
    UnknownCodecError,
)
from tests.hostile.bounds import bounded
from tests.hostile.documents import GROUP, PLAIN, V3, chunked, coded, nested, sharding, v2, v3

FILL = [0, 0, 0, 0]
DEEP = b"[" * 100_000
TWICE = b'{"zarr_format": 3, "zarr_format": 3, "node_type": "group"}'
VAST = 2**62
GZIP = {"name": "gzip", "configuration": {"level": 5}}


def in_attributes(text: str) -> dict[str, bytes]:
    return {"zarr.json": json.dumps(V3).encode()[:-1] + b', "attributes": {"a": ' + text.encode() + b"}}"}


def consolidated(name: str) -> dict[str, bytes]:
    inline = {"kind": "inline", "must_understand": False, "metadata": {name: V3}}
    return {"zarr.json": json.dumps(GROUP | {"consolidated_metadata": inline}).encode()}


def consolidated_v2(name: str) -> dict[str, bytes]:
    entries = {".zgroup": {"zarr_format": 2}, f"{name}/.zarray": json.loads(v2()[".zarray"])}
    document = {"zarr_consolidated_format": 1, "metadata": entries}
    return {".zgroup": b'{"zarr_format": 2}', ".zmetadata": json.dumps(document).encode()}


def everything(store: Any, device: str) -> Any:
    """All values."""
    return host(gpuzarr.open_array(store, mode="r", device=device)[...])


def one(store: Any, device: str) -> Any:
    """The first element."""
    a = gpuzarr.open_array(store, mode="r", device=device)
    return host(a[(slice(0, 1),) * a.ndim]).ravel()


def sparse(store: Any, device: str) -> Any:
    """One element in 2^56."""
    return host(gpuzarr.open_array(store, mode="r", device=device)[:: 1 << 56])


def opened(store: Any, device: str) -> Any:
    """Metadata only; the number of chunks as well, which must not be counted one by one."""
    a = gpuzarr.open_array(store, mode="r", device=device)
    assert a.explain()
    return np.array([a.nchunks > 0])


def group(store: Any, device: str) -> Any:
    """The members of a group, by its consolidated metadata."""
    return np.array([len(list(gpuzarr.open_group(store, mode="r").members()))])


def host(values: Any) -> np.ndarray:
    return values if type(values) is np.ndarray else values.get()


Reader = Callable[[Any, str], Any]
Case = tuple[str, dict[str, bytes], Any] | tuple[str, dict[str, bytes], Any, Reader]

# threat, store, what must come of it (values, or an error), and how it is read (all of it, where nothing is said)
CASES: list[Case] = [
    # negative shape or chunk
    ("negative shape", v3(shape=[-4]), MetadataError),
    ("negative shape", v2(shape=[-4]), MetadataError),
    ("negative chunk", chunked([-2]), MetadataError),
    ("negative chunk", v2(chunks=[-2]), MetadataError),
    ("negative inner chunk", v3(codecs=[sharding([-1])]), MetadataError),
    # chunk length of zero
    ("zero chunk", chunked([0]), MetadataError),
    ("zero chunk", v2(chunks=[0]), MetadataError),
    ("zero inner chunk", v3(codecs=[sharding([0])]), MetadataError),
    ("zero chunk of an empty axis", chunked([0], shape=[0]), []),
    # sizes that are no integers
    *[("size that is no integer", v3(shape=[bad]), MetadataError) for bad in (4.0, "4", True, None, [4])],
    *[("size that is no integer", v2(shape=[bad]), MetadataError) for bad in (4.0, "4", True, None, [4])],
    *[("chunk that is no integer", chunked([bad]), MetadataError) for bad in (2.0, "2", True, None, [2])],
    *[("chunk that is no integer", v2(chunks=[bad]), MetadataError) for bad in (2.0, "2", True, None, [2])],
    ("inner chunk that is no integer", v3(codecs=[sharding([True])]), MetadataError),
    ("no list", v3(shape=4), MetadataError),
    # sizes beyond 2^63-1, and products that overflow
    ("size beyond 64 bits", v3(shape=[2**63]), MetadataError),
    ("size beyond 64 bits", v2(shape=[2**70]), MetadataError),
    ("chunk beyond 64 bits", chunked([2**63]), MetadataError),
    ("size that int64 holds", chunked([1], shape=[2**63 - 1]), [0], one),
    ("count of chunks beyond 64 bits", chunked([1, 1], shape=[VAST, VAST]), [0], one),
    ("count of chunks beyond 64 bits", chunked([1, 1], shape=[VAST, VAST]), LimitError, opened),
    ("more elements than memory", chunked([1, 1], shape=[VAST, VAST]), LimitError),
    ("more chunks than a plan holds", chunked([1], shape=[2**28], data_type="uint8"), LimitError),
    ("one element of every 1000th of very many chunks", chunked([1], shape=[VAST]), [0] * 64, sparse),
    ("chunks that end beyond 64 bits", chunked([2**57 - 1], shape=[2**63 - 1]), [0] * 128, sparse),
    ("bytes of a chunk beyond 64 bits", chunked([VAST, VAST], shape=[VAST, VAST]), [0], one),
    ("bytes of a chunk beyond 64 bits", chunked([VAST, VAST], shape=[VAST, VAST]) | {"c/0/0": b"\1"}, GpuzarrError,
     one),
    ("bytes of a shard beyond 64 bits", chunked([VAST], shape=[VAST], codecs=[sharding([1])]), [0], one),
    ("index beyond 64 bits", chunked([VAST], shape=[VAST], codecs=[sharding([1])]) | {"c/0": b"\1"}, LimitError, one),
    ("index beyond the limit", chunked([2**28], codecs=[sharding([1])]) | {"c/0": b"\1"}, LimitError, one),
    ("shard of huge inner chunks", chunked([VAST], shape=[VAST], codecs=[sharding([VAST])]) | {"c/0": bytes(16)},
     GpuzarrError, one),
    # one huge chunk
    ("huge chunk, absent", chunked([2**40], shape=[2**40]), [0], one),
    ("huge compressed chunk, absent", chunked([2**63 - 1], codecs=[*PLAIN, GZIP]), FILL),
    ("huge compressed chunk, absent", chunked([2**31], codecs=[*PLAIN, {"name": "zstd", "configuration": {
        "level": 0, "checksum": False}}, {"name": "crc32c"}]), FILL),
    ("huge inner chunk, absent", chunked([2**40], codecs=[sharding([2**39], codecs=[*PLAIN, GZIP])]), FILL),
    ("huge chunk, present", chunked([2**40], shape=[2**40], codecs=[*PLAIN, GZIP]) | {"c/0": b"\x1f\x8b"}, LimitError,
     one),
    ("rows of a huge plain chunk", v2(shape=[4, 5], chunks=[2, 2**40]) | {"0.0": bytes(8)}, LimitError),
    ("rows of a huge plain chunk", v2(shape=[4, 5], chunks=[2, 2**63 - 1]) | {"0.0": bytes(8)}, LimitError),
    ("rows of a huge plain chunk, absent", v2(shape=[2, 2], chunks=[2, 2**63 - 1]), [[0, 0], [0, 0]]),
    ("huge plain chunk, cut", chunked([2**40], shape=[2**40]) | {"c/0": b"1234"}, GpuzarrError, one),
    # huge elements
    ("element of 1 GiB", v2(dtype="|S1073741824", fill_value=None), MetadataError),
    ("element of 1 GiB", v2(dtype="|V1073741824", fill_value=None), MetadataError),
    ("element of 1 GiB", v2(dtype=[["a", "<i4", [1 << 28]]], fill_value=None), MetadataError),
    ("element of 16 MiB", v2(dtype="|V16777216", fill_value=None), [True], opened),
    ("element beyond 2 GiB", v2(dtype="|S4294967296", fill_value=None), MetadataError),
    ("element beyond 2 GiB", v3(data_type="r99999999992", fill_value=[]), MetadataError),
    ("element of many fields", v2(dtype=[["a", "<i4", [2**31]]]), MetadataError),
    ("element of many fields", v2(dtype=[["a", "<i4", [-1]]]), MetadataError),
    # rank
    ("33 axes", chunked([1] * 33, shape=[1] * 33), MetadataError),
    ("100 axes", v2(shape=[1] * 100, chunks=[1] * 100), MetadataError),
    ("32 axes", chunked([1] * 32, shape=[1] * 32), [0], one),
    # depth
    ("deep document", {"zarr.json": DEEP}, MetadataError),
    ("deep document", {"zarr.json": b'{"a":' * 100_000}, MetadataError),
    ("deep document", {".zarray": DEEP}, MetadataError),
    ("deep attributes", v2() | {".zattrs": DEEP}, MetadataError),
    ("deep attributes", in_attributes("[" * 300 + "]" * 300), MetadataError),
    ("5 shards in one another", chunked([1], codecs=[nested(5)]), MetadataError),
    ("12 shards in one another", chunked([1], codecs=[nested(12)]), MetadataError),
    ("4 shards in one another", chunked([1], codecs=[nested(4)]), FILL),
    ("shards in the index of a shard", v3(codecs=[sharding(index_codecs=[sharding([1, 1])])]), MetadataError),
    # huge documents
    ("document of 65 MiB", {"zarr.json": b" " * (65 << 20)}, LimitError),
    ("document of 65 MiB", {".zarray": b" " * (65 << 20)}, LimitError),
    ("attributes of 65 MiB", v2() | {".zattrs": b" " * (65 << 20)}, LimitError),
    # numbers and keys in JSON
    ("integer of 5000 digits", {"zarr.json": b'{"zarr_format": ' + b"9" * 5000 + b"}"}, MetadataError),
    ("integer of 5000 digits", in_attributes("9" * 5000), MetadataError),
    ("float beyond range", v3(shape=[1e308]), MetadataError),
    ("key twice", {"zarr.json": TWICE}, MetadataError),
    ("key twice", in_attributes('{"b": 1, "b": 2}'), MetadataError),
    ("NaN", v3(shape=[float("nan")]), MetadataError),
    ("NaN as fill value", v3(data_type="float32", fill_value=float("nan")), MetadataError),
    ("NaN in attributes", in_attributes("NaN"), FILL),
    ("not UTF-8", {"zarr.json": b'{"zarr_format": "\xff"}'}, MetadataError),
    ("not JSON", {"zarr.json": b"\0" * 100}, MetadataError),
    ("empty document", {"zarr.json": b""}, MetadataError),
    ("no object", {"zarr.json": b"[]"}, MetadataError),
    # unknown codecs and fields
    ("unknown codec", coded(b"", {"name": "os.system"}), UnknownCodecError),
    ("unknown codec", v2(compressor={"id": "os.system"}), UnknownCodecError),
    ("unknown codec that need not be understood", coded(b"", {"name": "x", "must_understand": False}), GpuzarrError),
    ("unknown field", v3(surprise={"a": 1}), MetadataError),
    ("unknown storage transformer", v3(storage_transformers=[{"name": "x"}]), MetadataError),
    ("unknown data type", v3(data_type="object"), DataTypeValidationError),
    ("unknown data type", v2(dtype="|O"), DataTypeValidationError),
    # pickle
    ("pickle", v2(dtype="|O", filters=[{"id": "pickle"}]), PickleCodecDisabledError),
    ("pickle behind text", v2(dtype="|O", filters=[{"id": "vlen-utf8"}, {"id": "pickle"}]), PickleCodecDisabledError),
    ("pickle as compressor", v2(compressor={"id": "pickle"}), PickleCodecDisabledError),
    ("pickle in format 3", coded(b"", {"name": "numcodecs.pickle"}), PickleCodecDisabledError),
    ("pickle in a shard", v3(codecs=[sharding(codecs=[{"name": "numcodecs.pickle"}])]), PickleCodecDisabledError),
    # names that lead out of the store
    *[("name in consolidated metadata", consolidated(name), MetadataError, group)
      for name in ("../a", "/etc", "a/../../b", "a\0b", "a\\b", "", "a//b", ".")],
    *[("name in consolidated metadata", consolidated_v2(name), MetadataError, group)
      for name in ("../a", "/etc", "a/../../b", "a\0b", "a\\b", "a//b", ".")],
    ("name in consolidated metadata that is fine", consolidated("a"), [1], group),
    ("redirect", {"zarr.json": json.dumps(GROUP | {"consolidated_metadata": {
        "kind": "reference://", "must_understand": True, "metadata": {}}}).encode()}, MetadataError, group),
    ("separator", v2(dimension_separator="/../"), MetadataError),
    ("separator", v3(chunk_key_encoding={"name": "default", "configuration": {"separator": "/../"}}), MetadataError),
    # configurations that ask for much
    ("lzma dictionary", v2(compressor={"id": "lzma", "format": 3, "filters": [{"id": 33, "dict_size": 2**32 - 1}]}),
     MetadataError),
    ("blosc type size", coded(b"", {"name": "blosc", "configuration": {"typesize": 2**40}}), MetadataError),
    ("shuffled elements of 2 GiB", v2(filters=[{"id": "shuffle", "elementsize": 2**31 - 1}]) | {"0": bytes(8)},
     GpuzarrError),
    ("transpose of no axis", v3(codecs=[{"name": "transpose", "configuration": {"order": [7]}}, *PLAIN]),
     MetadataError),
    ("many codecs", coded(b"", *[{"name": "crc32c"}] * 2000), GpuzarrError),
    ("lengths of chunks that do not sum up", v3(chunk_grid={"name": "rectilinear", "configuration": {
        "kind": "inline", "chunk_shapes": [[[1, 2**62], [2**62, 4]]]}}), MetadataError),
    ("very many chunks of one length", v3(shape=[VAST], chunk_grid={"name": "rectilinear", "configuration": {
        "kind": "inline", "chunk_shapes": [[[1, VAST]]]}}), [0], one),
]  # fmt: skip


@pytest.fixture(scope="module", params=["cpu", "emulated"])
def warm_device(request: pytest.FixtureRequest) -> str:
    """A device that has read something, so that what it sets up once is not counted."""
    everything(chunked([2]) | {"c/0": bytes(8)}, request.param)
    return str(request.param)


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_metadata(case: Case, warm_device: str) -> None:
    store, expected = case[1], case[2]
    reader = case[3] if len(case) == 4 else everything
    with bounded():
        if isinstance(expected, type):
            with pytest.raises(expected) as caught:
                reader(store, warm_device)
            assert isinstance(caught.value, GpuzarrError)
            assert len(str(caught.value)) < 2000
        else:
            assert reader(store, warm_device).tolist() == expected


def test_the_limit_of_a_chunk_is_a_setting(warm_device: str) -> None:
    store = chunked([4]) | {"c/0": np.arange(4, dtype="<i4").tobytes()}
    with gpuzarr.config.set({"array.max_chunk_bytes": 15}), pytest.raises(LimitError, match="max_chunk_bytes"):
        everything(store, warm_device)
    with gpuzarr.config.set({"array.max_chunk_bytes": 16}):
        assert everything(store, warm_device).tolist() == [0, 1, 2, 3]


def test_shrinking_a_vast_array_does_not_walk_its_chunks() -> None:
    objects: dict[str, Any] = dict(chunked([1, 1], shape=[VAST, VAST])) | {"c/0/0": b"1234", "c/9/9": b"5678"}
    a = gpuzarr.open_array(objects, mode="r+")
    with bounded():
        a.resize((1, 1))
        assert a.nchunks_initialized == 1
    assert sorted(objects) == ["c/0/0", "zarr.json"]


def test_paths_that_lead_out_of_the_hierarchy(warm_device: str) -> None:
    objects: dict[str, Any] = {"zarr.json": json.dumps(GROUP).encode()}
    root = gpuzarr.open_group(objects, mode="r+")
    for path in ("..", "../a", "a/../b", ".", "...", "a\0b"):
        for call in (
            lambda p: gpuzarr.open_array(objects, path=p, mode="r", device=warm_device),
            lambda p: gpuzarr.open_group(objects, path=p, mode="r"),
            lambda p: root.create_array(p, shape=(1,), dtype="i4"),
            lambda p: root[p],
        ):
            with pytest.raises((KeyValidationError, MetadataError)):
                call(path)
    assert sorted(objects) == ["zarr.json"]


@pytest.mark.parametrize("shape", [[VAST], [VAST, VAST]])
def test_iterating_over_a_vast_array_begins_at_once(shape: list[int]) -> None:
    a = gpuzarr.open_array(chunked([1, 3][: len(shape)], shape=shape), mode="r")
    with bounded():
        rows = iter(a) if len(shape) == 1 else iter(a.lazy[:, 0])
        assert [int(np.asarray(next(rows))) for _ in range(5)] == [0] * 5


def test_a_cache_makes_no_room_for_huge_chunks() -> None:
    a = gpuzarr.open_array(chunked([2**40], codecs=[*PLAIN, GZIP]), mode="r").with_cache(1 << 20)
    with bounded():
        assert a[...].tolist() == FILL


HUGE = {
    "chunk": chunked([2**40], shape=[2**40]),
    "compressed chunk": chunked([2**40], shape=[4], codecs=[*PLAIN, GZIP]),
    "shard of very many chunks": chunked([2**40], shape=[2**40], codecs=[sharding([1])]),
    "shard of huge chunks": chunked([2**40], shape=[2**40], codecs=[sharding([2**39])]),
}


@pytest.mark.parametrize("what", HUGE)
def test_writing_to_what_is_too_large_to_be_held(what: str) -> None:
    objects: dict[str, Any] = dict(HUGE[what])
    a = gpuzarr.open_array(objects, mode="r+")
    for selection in (0, slice(0, 4)):
        with bounded(), pytest.raises(LimitError, match="max_chunk_bytes"):
            a[selection] = 7
    assert list(objects) == ["zarr.json"]


@pytest.mark.parametrize("fill", [[], [1, 1], [[1], [2]]])
def test_a_fill_value_that_is_a_list_is_one_element(fill: list[Any]) -> None:
    objects: dict[str, Any] = dict(v2(dtype="|O", fill_value=fill, filters=[{"id": "json2"}]))
    a = gpuzarr.open_array(objects, mode="r+")
    assert a[...].tolist() == [fill] * 4
    a[0] = "x"
    a.resize((3,))
    a.resize((4,))
    assert a[...].tolist() == ["x", fill, fill, fill]
