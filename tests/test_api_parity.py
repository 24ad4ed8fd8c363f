"""The same calls on zarr-python and on gpuzarr: the same results, the same stored bytes, errors of the same family.

zarr-python 3.4 is the judge; older ones differ in many of these. What differs on purpose is in `test_api.py`.
"""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numcodecs
import numpy as np
import pytest

import gpuzarr

zarr = pytest.importorskip("zarr", minversion="3.4")
pytestmark = [pytest.mark.judge, pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")]

DATA = np.arange(63, dtype="f4").reshape(7, 9)
BUILTIN = tuple(e for e in vars(builtins).values() if isinstance(e, type) and issubclass(e, Exception))


@pytest.fixture(autouse=True)
def _rectilinear() -> Iterator[None]:
    with zarr.config.set({"array.rectilinear_chunks": True}):
        yield


def stored(mapping: dict[str, Any]) -> dict[str, bytes]:
    """The objects of a dict that either library wrote into."""
    return {key: value if isinstance(value, bytes) else value.to_bytes() for key, value in sorted(mapping.items())}


def family(error: Exception) -> tuple[type[Exception], ...]:
    """The nearest built-in class of an exception. For a bad argument, ValueError and TypeError are one family."""
    nearest = next(cls for cls in type(error).__mro__ if cls in BUILTIN)
    return (ValueError, TypeError) if nearest in (ValueError, TypeError) else (nearest,)


def outcome(call: Callable[[Any, dict[str, Any]], Any], library: Any) -> tuple[Any, dict[str, bytes], Exception | None]:
    store: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result, error = call(library, store), None
        except Exception as caught:
            result, error = None, caught
    return result, stored(store), error


def same(call: Callable[[Any, dict[str, Any]], Any]) -> None:
    theirs, their_objects, their_error = outcome(call, zarr)
    ours, our_objects, our_error = outcome(call, gpuzarr)
    if their_error is not None:
        assert our_error is not None, f"zarr-python raises {their_error!r}"
        assert isinstance(our_error, family(their_error)), f"{our_error!r} is no {family(their_error)}: {their_error!r}"
        return
    if our_error is not None:
        raise our_error
    np.testing.assert_equal(ours, theirs)
    assert our_objects == their_objects


# ---- creation: the same arguments, the same documents and chunks


def creation_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = []
    dtypes = ["f8", "i1", "?", "<i4", ">i4", "c16", "M8[ns]", "m8[s]", "S4", "U3", "V5", str, "float16"]
    for dtype in [*dtypes, [("a", "<i4"), ("b", "S2")]]:
        for zarr_format in (2, 3):
            cases += [
                {"shape": (100, 7), "dtype": dtype, "zarr_format": zarr_format},
                {"shape": (), "dtype": dtype, "zarr_format": zarr_format},
                {"shape": (0, 5), "dtype": dtype, "zarr_format": zarr_format, "fill_value": None},
            ]
    f4 = {"shape": (60, 100), "dtype": "f4"}
    grids: list[dict[str, Any]] = [
        {"chunks": (10, 10), "shards": (20, 20)},
        {"chunks": (10, 10), "shards": (20, -1)},
        {"shape": (10000, 1000), "shards": "auto"},
        {"chunks": (10, 10), "shards": {"shape": (20, 20), "index_location": "start"}},
        {"chunks": (10, 10), "shards": [[20, 20, 20], [50, 50]]},
        *({"chunks": c} for c in ([[20, 20, 20], [50, 50]], [[20, 20, 20], 50], 7, -1, False, np.int64(7))),
        {"chunks": np.array([7, 8])},
        {"shape": 60, "chunks": np.int64(7)},
        {"shape": (3000, 4000)},
        {"shape": (40000, 3, 500), "dtype": "u1"},
    ]
    cases += [f4 | grid for grid in grids]
    cases += [
        {"shape": (60, 100), "dtype": "i4", "zarr_format": 2, "compressors": codec, **more}
        for codec in (numcodecs.Blosc(), numcodecs.Zlib(3), {"id": "blosc"}, None, numcodecs.LZ4(), {"id": "gzip"})
        for more in (
            {},
            {
                "filters": [numcodecs.Delta("<i4")],
                "order": "F",
                "chunk_key_encoding": {"name": "v2", "separator": "/"},
            },
        )
    ]
    cases += [
        f4 | {"fill_value": float("nan"), "attributes": {"a": [1, {"b": float("inf")}]}},
        f4 | {"dimension_names": ["x", None]},
        f4 | {"chunk_key_encoding": {"name": "default", "separator": "."}},
        f4 | {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
        {"shape": (60,), "dtype": "i8", "fill_value": -3},
    ]
    wrong: list[dict[str, Any]] = [
        {"fill_value": "x"},
        {"chunks": 0},
        {"chunks": (1, 2)},
        {"chunks": [[10, 20]]},
        {"chunks": 2.5},
        {"chunks": (10,), "shards": (15,)},
        {"zarr_format": 2, "shards": (15,)},
        {"zarr_format": 2, "dimension_names": ("a",)},
        {"dimension_names": ("a", "b")},
        {"shape": (-60,)},
        {"chunk_key_encoding": {"name": "nope"}},
        {"filters": [{"name": "gzip", "configuration": {"level": 1}}]},
        {"compressors": [{"name": "bytes", "configuration": {"endian": "little"}}]},
        {"dtype": object},
        {"dtype": "nope"},
        {"zarr_format": 2, "compressors": [numcodecs.Blosc(), numcodecs.Zlib()]},
    ]
    return cases + [{"shape": (60,), "dtype": "i8"} | more for more in wrong]


CREATION = creation_cases()


@pytest.mark.parametrize("number", range(len(CREATION)))
def test_the_same_arguments_make_the_same_documents(number: int) -> None:
    def create(library: Any, store: dict[str, Any]) -> None:
        library.create_array(store=store, **CREATION[number])

    same(create)


@pytest.mark.parametrize("dtype", ["f8", "i1", "M8[s]"])
@pytest.mark.parametrize("layout", [{}, {"chunks": (10, 10), "shards": (20, 20)}])
@pytest.mark.parametrize(
    ("name", "configuration"),
    [
        ("BloscCodec", {}),
        ("BloscCodec", {"cname": "lz4", "shuffle": "noshuffle"}),
        ("GzipCodec", {"level": 3}),
        ("ZstdCodec", {"level": 4, "checksum": True}),
        ("Crc32cCodec", {}),
    ],
)
def test_codecs_of_either_library_make_the_same_documents(
    name: str, configuration: dict[str, Any], layout: dict[str, Any], dtype: str
) -> None:
    def call(codecs: Any) -> Callable[[Any, dict[str, Any]], Any]:
        def create(library: Any, store: dict[str, Any]) -> None:
            library.create_array(
                store=store,
                shape=(60, 100),
                dtype=dtype,
                compressors=getattr(codecs or library.codecs, name)(**configuration),
                filters=[(codecs or library.codecs).TransposeCodec(order=(1, 0))],
                **layout,
            )

        return create

    same(call(None))
    same(call(zarr.codecs))  # zarr-python's codec objects, handed to both


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"chunks": (3, 4)},
        {"chunks": (3, 4), "overwrite": True, "attributes": {"a": 1}},
        {"chunks": 5, "dtype": "i8"},
        {"chunks": True},
        {"chunks": "auto", "dtype": "nope"},
    ],
)
def test_the_older_creation_functions(zarr_format: int, arguments: dict[str, Any]) -> None:
    for function in ("zeros", "ones", "empty"):
        same(lambda lib, store: getattr(lib, function)((7, 9), store=store, zarr_format=zarr_format, **arguments)[:])  # noqa: B023


# ---- what calls do

SCENARIOS: list[Callable[[Any, dict[str, Any]], Any]] = []


def scenario(call: Callable[[Any, dict[str, Any]], Any]) -> Callable[[Any, dict[str, Any]], Any]:
    SCENARIOS.append(call)
    return call


def filled(lib: Any, store: Any, **more: Any) -> Any:
    z = lib.create_array(store=store, **{"shape": (7, 9), "chunks": (3, 4), "dtype": "f4", **more})
    z[:] = DATA
    return z


@scenario
def write_and_read(lib: Any, store: Any) -> Any:
    return filled(lib, store)[2:6, 1:8:3]


@scenario
def write_v2(lib: Any, store: Any) -> Any:
    return filled(lib, store, zarr_format=2)[:]


@scenario
def write_sharded(lib: Any, store: Any) -> Any:
    return filled(lib, store, shards=(6, 8))[:]


@scenario
def no_empty_chunks(lib: Any, store: Any) -> Any:
    z = filled(lib, store)
    z[:3] = 0
    return z.nchunks_initialized


@scenario
def create_where_one_is(lib: Any, store: Any) -> Any:
    filled(lib, store)
    lib.create_array(store=store, shape=(2,), dtype="i4")


@scenario
def create_group_where_an_array_is(lib: Any, store: Any) -> Any:
    filled(lib, store)
    lib.create_group(store)


@scenario
def open_group_where_an_array_is(lib: Any, store: Any) -> Any:
    filled(lib, store)
    lib.open_group(store)


@scenario
def open_array_where_a_group_is(lib: Any, store: Any) -> Any:
    lib.create_group(store)
    lib.open_array(store)


@scenario
def open_array_where_nothing_is(lib: Any, store: Any) -> Any:
    lib.open_array(store)


@scenario
def open_group_where_nothing_is(lib: Any, store: Any) -> Any:
    lib.open_group(store, mode="r")


@scenario
def open_where_nothing_is(lib: Any, store: Any) -> Any:
    lib.open(store, mode="r")


@scenario
def open_makes_a_group(lib: Any, store: Any) -> Any:
    return type(lib.open(store)).__name__


@scenario
def open_makes_an_array(lib: Any, store: Any) -> Any:
    return type(lib.open(store, mode="a", shape=(4,), chunks=(2,), dtype="i2")).__name__


@scenario
def open_takes_what_is_there(lib: Any, store: Any) -> Any:
    filled(lib, store, attributes={"a": 1})
    z = lib.open(store, mode="a", shape=(4,), dtype="i2")
    return z.shape, dict(z.attrs)


@scenario
def open_replaces(lib: Any, store: Any) -> Any:
    filled(lib, store)
    return lib.open(store, mode="w", shape=(4,), chunks=(2,), dtype="i2")[:]


@scenario
def open_never_replaces(lib: Any, store: Any) -> Any:
    filled(lib, store)
    lib.open(store, mode="w-", shape=(4,), chunks=(2,), dtype="i2")


@scenario
def a_wrong_mode(lib: Any, store: Any) -> Any:
    lib.open(store, mode="x")


@scenario
def open_a_config_on_a_group(lib: Any, store: Any) -> Any:
    lib.create_group(store)
    lib.open(store, config={"order": "F"})


@scenario
def a_failed_overwrite_keeps_the_data(lib: Any, store: Any) -> Any:
    filled(lib, store)
    for wrong in ({"chunks": (1, 2, 3)}, {"dtype": "nope"}, {"attributes": {"a": {1, 2}}}):
        with pytest.raises((ValueError, TypeError)):
            lib.create_array(store=store, **{"shape": (4,), "dtype": "i2", "overwrite": True, **wrong})
    return lib.open_array(store)[:]


@scenario
def parents_are_made(lib: Any, store: Any) -> Any:
    lib.create_array(store=store, name="a/b/c", shape=(4,), dtype="i2")
    return sorted(path for path, _ in lib.open_group(store).members(max_depth=None))


@scenario
def parents_are_made_v2(lib: Any, store: Any) -> Any:
    lib.create_array(store=store, name="a/b/c", shape=(4,), dtype="i2", zarr_format=2)
    return sorted(path for path, _ in lib.open_group(store).members(max_depth=None))


@scenario
def no_member_below_an_array(lib: Any, store: Any) -> Any:
    filled(lib, store, name="a")
    lib.create_array(store=store, name="a/b", shape=(4,), dtype="i2")


@scenario
def groups(lib: Any, store: Any) -> Any:
    root = lib.group(store, attributes={"title": "x"})
    sub = root.create_group("sub", attributes={"n": 1})
    sub.create_array("x", shape=(4,), chunks=(2,), dtype="i2", fill_value=3)
    root["y"] = np.arange(6)
    root.require_group("sub").require_group("deep/er")
    found = {path: type(node).__name__ for path, node in root.members(max_depth=None)}
    return (
        found,
        sorted(root),
        len(root),
        "sub/x" in root,
        "nope" in root,
        sorted(root.array_keys()),
        sorted(root.group_keys()),
        root["sub/x"][:],
        root["y"][:],
        root.nmembers(max_depth=None),
        root["sub"].name,
        root["sub/x"].path,
        root["sub/x"].basename,
        root.get("nope", 5),
        dict(root.attrs),
    )


@scenario
def groups_v2(lib: Any, store: Any) -> Any:
    root = lib.group(store, attributes={"title": "x"}, zarr_format=2)
    root.create_group("sub", attributes={"n": 1})
    root.create_array("x", shape=(4,), chunks=(2,), dtype="i2", fill_value=3)
    root["y"] = np.arange(6)
    root.zeros(name="z", shape=(5,), chunks=(5,))
    return sorted(root.keys()), root["y"].chunks


@scenario
def a_missing_member(lib: Any, store: Any) -> Any:
    lib.group(store)["nope"]


@scenario
def a_missing_array(lib: Any, store: Any) -> Any:
    lib.group(store).get_array("nope")


@scenario
def a_group_got_as_array(lib: Any, store: Any) -> Any:
    root = lib.group(store)
    root.create_group("a")
    root.get_array("a")


@scenario
def an_array_got_as_group(lib: Any, store: Any) -> Any:
    root = lib.group(store)
    root.create_array("a", shape=(1,), dtype="i1")
    root.get_group("a")


@scenario
def delete_a_member(lib: Any, store: Any) -> Any:
    root = lib.group(store)
    root.create_group("a/b")
    filled(lib, store, name="c")
    del root["c"]
    del root["a"]
    return list(root)


@scenario
def require_array(lib: Any, store: Any) -> Any:
    root = lib.group(store)
    root.require_array("a", shape=(4,), dtype="i4", chunks=(2,))
    return root.require_array("a", shape=(4,), dtype="i4").shape


@scenario
def require_another_shape(lib: Any, store: Any) -> Any:
    root = lib.group(store)
    root.create_array("a", shape=(4,), dtype="i4")
    root.require_array("a", shape=(5,), dtype="i4")


@scenario
def require_another_dtype(lib: Any, store: Any) -> Any:
    root = lib.group(store)
    root.create_array("a", shape=(4,), dtype="i8")
    root.require_array("a", shape=(4,), dtype="i4")


@scenario
def require_a_group_where_an_array_is(lib: Any, store: Any) -> Any:
    root = lib.group(store)
    root.create_array("a", shape=(4,), dtype="i4")
    root.require_group("a")


@scenario
def create_a_group_twice(lib: Any, store: Any) -> Any:
    root = lib.group(store)
    root.create_group("a")
    root.create_group("a")


@scenario
def a_negative_depth(lib: Any, store: Any) -> Any:
    lib.group(store).members(max_depth=-1)


@scenario
def likes(lib: Any, store: Any) -> Any:
    z = filled(lib, {}, fill_value=2, compressors=None)
    one = lib.ones_like(z, store=store, path="one")
    same_fill = lib.full_like(z, store=store, path="full")
    plain = lib.zeros_like(DATA, store=store, path="plain")
    return one[:], one.chunks, same_fill[:], plain[:], plain.dtype


@scenario
def likes_v2(lib: Any, store: Any) -> Any:
    z = filled(lib, {}, fill_value=2, zarr_format=2, order="F")
    return lib.empty_like(z, store=store).chunks


@scenario
def arrays_from_arrays(lib: Any, store: Any) -> Any:
    z = filled(lib, {}, fill_value=2, attributes={"a": [1]}, dimension_names=["x", "y"], shards=(6, 8))
    return lib.from_array(store, data=z)[:]


@scenario
def arrays_from_arrays_v2(lib: Any, store: Any) -> Any:
    z = filled(lib, {}, fill_value=2, attributes={"a": [1]}, zarr_format=2, order="F", filters=None, compressors=None)
    return lib.from_array(store, data=z)[:]


@scenario
def arrays_from_v2_to_v3(lib: Any, store: Any) -> Any:
    z = filled(lib, {}, fill_value=2, attributes={"a": [1]}, zarr_format=2)
    return lib.from_array(store, data=z, zarr_format=3)[:]


@scenario
def arrays_from_others(lib: Any, store: Any) -> Any:
    z = filled(lib, {}, attributes={"a": 1})
    return lib.from_array(store, data=z, chunks=(4, 4), shards=None, compressors=None, attributes={}, fill_value=9)[:]


@scenario
def arrays_from_numpy(lib: Any, store: Any) -> Any:
    return lib.create_array(store=store, data=DATA, chunks=(2, 9))[:]


@scenario
def data_and_shape(lib: Any, store: Any) -> Any:
    lib.create_array(store=store, data=DATA, shape=(7, 9))


@scenario
def neither_data_nor_shape(lib: Any, store: Any) -> Any:
    lib.create_array(store=store, dtype="i4")


@scenario
def no_data_written(lib: Any, store: Any) -> Any:
    return lib.create_array(store=store, data=DATA, write_data=False)[:]


@scenario
def onto_itself(lib: Any, store: Any) -> Any:
    lib.from_array(store, data=filled(lib, store), overwrite=True)


@scenario
def array_of_a_list(lib: Any, store: Any) -> Any:
    return lib.array([[1, 2], [3, 4]], store=store)[:]


@scenario
def save_and_load(lib: Any, store: Any) -> Any:
    lib.save(store, DATA)
    return lib.load(store)


@scenario
def save_many(lib: Any, store: Any) -> Any:
    lib.save(store, DATA, DATA[0], named=DATA[:, 0])
    return sorted(lib.open_group(store)), lib.open_group(store)["named"][:]


@scenario
def save_nothing(lib: Any, store: Any) -> Any:
    lib.save(store)


@scenario
def save_no_array(lib: Any, store: Any) -> Any:
    lib.save_array(store, "text")


@scenario
def a_failed_save_keeps_the_data(lib: Any, store: Any) -> Any:
    lib.save_group(store, DATA)
    with pytest.raises((ValueError, TypeError)):
        lib.save_group(store, DATA, np.array([object()]))
    return lib.open_group(store)["arr_0"][:]


@scenario
def attributes(lib: Any, store: Any) -> Any:
    z = filled(lib, store)
    z.attrs["a"] = {"b": [1, 2.5, None, "x"]}
    z.attrs.update(c=1, d=float("inf"))
    del z.attrs["c"]
    first = z.attrs.asdict()
    z.update_attributes({"e": 1})
    second = dict(z.attrs)
    z.attrs.put({"only": True})
    return first, second, dict(lib.open_array(store).attrs), z.attrs.get("nope"), len(z.attrs), "only" in z.attrs


@scenario
def attributes_that_are_no_json(lib: Any, store: Any) -> Any:
    filled(lib, store).attrs["a"] = object()


@scenario
def a_missing_attribute(lib: Any, store: Any) -> Any:
    filled(lib, store).attrs["a"]


@scenario
def consolidated(lib: Any, store: Any) -> Any:
    root = lib.group(store, attributes={"t": 1})
    root.create_group("a/b")
    root["a"].create_array("x", shape=(4,), chunks=(2,), dtype="i2")
    root.create_array("B", shape=(4,), chunks=(2,), dtype="i2", attributes={"u": "K"})
    lib.consolidate_metadata(store)
    found = lib.open_consolidated(store)
    return (
        sorted(path for path, _ in found.members(max_depth=None)),
        found["a/x"].shape,
        dict(found["B"].attrs),
        sorted(found["a"].keys()),
        found.nmembers(max_depth=None),
    )


@scenario
def consolidated_must_be_there(lib: Any, store: Any) -> Any:
    lib.group(store)
    lib.open_consolidated(store)


@scenario
def consolidated_hides_what_is_newer(lib: Any, store: Any) -> Any:
    root = lib.group(store)
    root.create_group("old")
    lib.consolidate_metadata(store)
    lib.open_group(store, use_consolidated=False).create_group("new")
    return sorted(lib.open_group(store)), sorted(lib.open_group(store, use_consolidated=False))


@scenario
def consolidated_of_nothing(lib: Any, store: Any) -> Any:
    lib.consolidate_metadata(store)


@scenario
def open_like(lib: Any, store: Any) -> Any:
    z = lib.open_like(DATA, "here", store=store, chunks=(3, 4))
    return z.shape, z.chunks, lib.open_like(DATA[0], "here", store=store).shape


@scenario
def resize_and_append(lib: Any, store: Any) -> Any:
    z = filled(lib, store)
    z.append(DATA)
    z.resize((15, 11))
    z.resize((12, 8))  # at the edges of chunks: what is left of a chunk is cleared here, and kept there
    return z[:]


@scenario
def numbers_that_do_not_fit(lib: Any, store: Any) -> Any:
    filled(lib, store, dtype="u1")[0] = 300


@scenario
def nan_into_integers(lib: Any, store: Any) -> Any:
    filled(lib, store, dtype="i2")[0] = float("nan")


@scenario
def a_complex_number_into_floats(lib: Any, store: Any) -> Any:
    filled(lib, store)[0] = 1j


@scenario
def one_element(lib: Any, store: Any) -> Any:
    z = lib.create_array(store=store, shape=(), dtype=str)
    z[...] = "abc"
    row = filled(lib, {})
    return [type(got).__name__ for got in (z[...], z[()], row.get_basic_selection((1, 2)), row[1, 2], row.oindex[1, 2])]


@scenario
def keywords(lib: Any, store: Any) -> Any:
    z = filled(lib, store)
    z.set_mask_selection(mask=DATA > 60, value=1)
    z.resize(new_shape=(6, 8))
    z.update_attributes(new_attributes={"a": 1})
    return z.get_mask_selection(mask=np.eye(6, 8, dtype=bool)), dict(lib.Array.open(z.store_path).attrs)


@scenario
def enumerations(lib: Any, store: Any) -> Any:
    codecs = lib.codecs
    blosc = codecs.BloscCodec(cname=codecs.BloscCname.lz4, shuffle=codecs.BloscShuffle.bitshuffle, typesize=4)
    return filled(lib, store, compressors=blosc, serializer=codecs.BytesCodec(endian=codecs.Endian.big))[:]


@scenario
def a_missing_field(lib: Any, store: Any) -> Any:
    lib.create_array(store=store, shape=(4,), dtype=[("a", "i4"), ("b", "f4")])["c"]


@scenario
def below_array_slashes(lib: Any, store: Any) -> Any:
    lib.create_array(store=store, name="/a//b/", shape=(4,), dtype="i2")
    return lib.open_array(store, path="a/b").name


@scenario
def dots_in_a_path(lib: Any, store: Any) -> Any:
    lib.create_array(store=store, name="a/../b", shape=(4,), dtype="i2")


@pytest.mark.parametrize("call", SCENARIOS, ids=lambda call: call.__name__)
def test_the_same_calls_do_the_same(call: Callable[[Any, dict[str, Any]], Any]) -> None:
    same(call)


def test_every_function_is_there_with_its_parameters() -> None:
    import inspect

    def parameters(function: Any) -> set[str]:
        return {p.name for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD}

    assert set(zarr.codecs.__all__) <= set(gpuzarr.codecs.__all__)
    leave = {"AsyncArray", "AsyncGroup", "__version__", "config", "storage", "codecs"}
    for name in set(zarr.__all__) - leave:
        assert hasattr(gpuzarr, name), name
        theirs, ours = getattr(zarr, name), getattr(gpuzarr, name)
        if not inspect.isclass(theirs) and name not in ("copy", "copy_all", "copy_store", "group", "array"):
            assert parameters(theirs) - {"args", "kwargs"} <= parameters(ours) | {"args", "kwargs"}, name
    arguments: dict[str, dict[str, Any]] = {"create_array": {"shape": (1,), "dtype": "i1"}, "create_group": {}}
    for function, given in arguments.items():
        theirs, ours = (set(dir(getattr(lib, function)({}, **given))) for lib in (zarr, gpuzarr))
        names = {name for name in theirs if not name.startswith("_") and "async" not in name}
        assert names - ours - {"from_dict"} == set()
