"""NumPy equals of the kernels that compute with numbers (`byteswap.cu`, `convert.cu`, `delta.cu`, `packbits.cu`), and
the codes by which those are told data types."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuzarr.devices.numpy_memory import Array, bytes_at, table_at

SIGNED, REAL, BOOLEAN, SWAPPED = 16, 32, 64, 128  # as in `numbers.h`
CAST, RANGE, EXACT = range(3)  # rules of `convert.cu`


def type_code(dtype: np.dtype[Any]) -> int | None:
    """The code of a data type; None for one that the kernels do not have."""
    flag = {"u": 0, "i": SIGNED, "f": REAL, "b": BOOLEAN}.get(dtype.kind)
    if flag is None or dtype.itemsize > 8 or dtype.isbuiltin == 2:
        return None
    return dtype.itemsize + flag + (0 if dtype.isnative else SWAPPED)


def _dtype(code: int) -> np.dtype[Any] | None:
    """The data type of a code; None for none."""
    size, kind = code & 15, code & (SIGNED | REAL | BOOLEAN)
    letter = {0: "u", SIGNED: "i", REAL: "f", BOOLEAN: "b"}.get(kind)
    if code > 255 or size not in (1, 2, 4, 8) or letter is None:
        return None
    if (kind == REAL and size == 1) or (kind == BOOLEAN and size != 1):
        return None
    dtype = np.dtype(f"{letter}{size}")
    return dtype.newbyteorder() if code & SWAPPED else dtype


def _rows_at(address: int, nbytes: int, rows: int, stride: int, count: int, dtype: Any) -> Array | None:
    """Rows of `count` numbers; None where they are not all in `nbytes`, or not aligned."""
    if dtype is None or count > nbytes // dtype.itemsize:
        return None
    if rows > 1 and stride > (nbytes - count * dtype.itemsize) // (rows - 1):
        return None
    if address % dtype.itemsize or stride % dtype.itemsize:
        return None
    if not count:
        return np.empty((rows, 0), dtype)
    return np.ndarray((rows, count), dtype, bytes_at(address, nbytes), 0, (stride, dtype.itemsize))


def _spoil(spoilt: int, rows: int, bad: Array) -> None:
    bytes_at(spoilt, rows * 4).view(np.uint32)[bad] = 1


def byteswap(items: int, nbytes: int, width: int, source: int, dest: int) -> int:
    """See `byteswap.cu`."""
    if width not in (2, 4, 8):
        return items
    size = min(nbytes, items * 16)
    turned = bytes_at(source, size).copy()
    whole = turned[: size - size % width]
    whole.view(f"u{width}").byteswap(inplace=True)
    bytes_at(dest, size)[:] = turned
    return 0


# ---- convert.cu


def convert_rows(
    items: int,
    span: int,
    rows: int,
    count: int,
    source: int,
    source_bytes: int,
    source_stride: int,
    source_type: int,
    arithmetic: int,
    scale: int,
    offset: int,
    rule: int,
    map: int,
    pairs: int,
    dest: int,
    dest_bytes: int,
    dest_stride: int,
    dest_type: int,
    spoilt: int,
) -> int:
    """See `convert.cu`."""
    rows = min(rows, items // span)
    there, here = _dtype(source_type), _dtype(dest_type)
    numbers = _rows_at(source, source_bytes, rows, source_stride, count, there)
    result = _rows_at(dest, dest_bytes, rows, dest_stride, count, here)
    known = rule <= EXACT and arithmetic in (0, 1, 2, 4, 8)
    known = known and (arithmetic != 1 or (not source_type & REAL and scale != 0))
    if numbers is None or result is None or there is None or here is None or not known:
        return rows
    keys, given = table_at(map, 2, pairs).tolist()
    with np.errstate(all="ignore"):
        native, sound = _loaded(numbers)
        means = sound.copy()
        matches = [_equal(native, key) for key in keys]
        if arithmetic == 1:
            values, divides = _unscaled_integers(native, scale, offset)
            sound &= divides
        else:
            values = _unscaled_reals(native, arithmetic, scale, offset)
        decoded, passes = _converted(values, here.newbyteorder("="), rule)
    sound &= passes
    for where, value in [*zip(matches, given, strict=True)][::-1]:  # the first pair that matches counts
        decoded[where] = np.array([value], np.uint64).view(np.uint8)[: here.itemsize].view(decoded.dtype)[0]
        sound[where] = means[where]
    result[...] = np.where(sound, decoded, np.zeros(1, decoded.dtype))
    _spoil(spoilt, rows, np.asarray(~sound.all(axis=1)))
    return 0


def _loaded(numbers: Array) -> tuple[Array, Array]:
    """Numbers in native byte order, and which of them mean the same everywhere."""
    native = numbers.astype(numbers.dtype.newbyteorder("="))
    if native.dtype.kind == "b":
        octets = np.ascontiguousarray(numbers).view(np.uint8)
        return octets, octets < 2
    if native.dtype.kind != "f":
        return native, np.ones(native.shape, bool)
    native = np.ascontiguousarray(numbers).view(f"u{numbers.dtype.itemsize}")  # a copy as bits keeps every NaN
    native = (native if numbers.dtype.isnative else native.byteswap()).view(native.dtype.str.replace("u", "f"))
    return native, ~(np.isnan(native) & ~_quiet(native))


def _quiet(reals: Array) -> Array:
    """Whether the highest bit of the fraction is set."""
    bits = reals.view(f"u{reals.dtype.itemsize}")
    place = np.finfo(reals.dtype).nmant - 1
    quiet: Array = (bits >> bits.dtype.type(place) & bits.dtype.type(1)).astype(bool)
    return quiet


def _equal(native: Array, key: int) -> Array:
    """Where the numbers equal a key of the map, which is an integer of 64 bits or the bits of a double."""
    if native.dtype.kind != "f":
        wide = native.astype(np.int64 if native.dtype.kind == "i" else np.uint64).view(np.uint64)
        return np.asarray(wide == np.uint64(key))
    value, reals = np.uint64(key).view(np.float64), native.astype(np.float64)
    return np.asarray(np.isnan(reals) if np.isnan(value) else reals == value)


def _unscaled_integers(native: Array, scale: int, offset: int) -> tuple[Array, Array]:
    """x / scale + offset in 64-bit integers, and where that is exact."""
    signed = native.dtype.kind == "i"
    wide = np.dtype(np.int64 if signed else np.uint64)
    by, plus = (int(np.uint64(v).view(wide)) for v in (scale, offset))
    exact = native.astype(object)
    values = exact // by + plus
    bounds = np.iinfo(wide)
    quotients = exact // by
    fits = (values >= bounds.min) & (values <= bounds.max) & (quotients <= bounds.max)
    sound = (fits & (exact % by == 0)).astype(bool)
    return np.where(sound, values, 0).astype(wide), sound


def _unscaled_reals(native: Array, size: int, scale: int, offset: int) -> Array:
    """x / scale + offset in floats of `size` bytes; 0 for no arithmetic."""
    if not size:
        return native
    by, plus = (np.uint64(v).view(np.float64).astype(f"f{size}") for v in (scale, offset))
    if native.dtype.kind == "f":
        taken = np.where(np.isnan(native), 0, native).astype(f"f{size}")
        result = taken / by + plus
        return np.where(np.isnan(native), _same_nan(native, result.dtype), result)
    values: Array = native.astype(np.float64).astype(f"f{size}") / by + plus
    return values


def _same_nan(reals: Array, dtype: np.dtype[Any]) -> Array:
    """The NaNs among these floats with their bits, in another width; 0 for the rest."""
    have, want = np.finfo(reals.dtype), np.finfo(dtype)
    bits = reals.view(f"u{reals.dtype.itemsize}").astype(np.uint64)
    fraction, sign = bits & np.uint64((1 << have.nmant) - 1), bits >> np.uint64(have.bits - 1)
    shift = want.nmant - have.nmant
    fraction = fraction << np.uint64(shift) if shift >= 0 else fraction >> np.uint64(-shift)
    exponent = np.uint64((1 << (want.bits - 1 - want.nmant)) - 1 << want.nmant)
    made = (sign << np.uint64(want.bits - 1) | exponent | fraction).astype(f"u{dtype.itemsize}").view(dtype)
    return np.where(np.isnan(reals), made, np.zeros(1, dtype))


def _converted(values: Array, dtype: np.dtype[Any], rule: int) -> tuple[Array, Array]:
    """The numbers as another type, and which of them the rule lets pass."""
    if dtype.kind == "b":
        return values != 0, np.ones(values.shape, bool)
    if dtype.kind == "f":
        return _to_reals(values, dtype, rule)
    bounds = np.iinfo(dtype)
    if values.dtype.kind != "f":
        exact = values.astype(object)
        fits = ((exact >= bounds.min) & (exact <= bounds.max)).astype(bool)
        return values.astype(dtype), fits if rule else np.ones(values.shape, bool)
    wide = values.astype(np.float64)
    within = (wide > float(bounds.min) - 1) & (wide < float(bounds.max + 1))
    cast = np.where(within, wide, 0).astype(dtype)
    return cast, within & (cast.astype(np.float64) == wide) if rule else within


def _to_reals(values: Array, dtype: np.dtype[Any], rule: int) -> tuple[Array, Array]:
    cast = values.astype(dtype)
    passes = np.ones(values.shape, bool)
    if values.dtype.kind == "f":
        cast = np.where(np.isnan(values), _same_nan(values, dtype), cast)
        if rule:
            passes = ~np.isfinite(values) | np.isfinite(cast)
        if rule == EXACT:
            passes &= np.isnan(values) | (cast.astype(np.float64) == values)
        return cast, passes
    if rule:
        passes = np.isfinite(cast)
    if rule == EXACT:
        back = np.array([int(x) if finite else None for x, finite in zip(cast.ravel(), passes.ravel(), strict=True)])
        passes &= (back.reshape(values.shape) == values.astype(object)).astype(bool)
    return cast, passes


# ---- packbits.cu


def unpack_rows(
    items: int,
    span: int,
    rows: int,
    count: int,
    source: int,
    source_bytes: int,
    source_stride: int,
    nbytes: int,
    head: int,
    padding_at: int,
    padding: int,
    width: int,
    first: int,
    backwards: int,
    dest: int,
    dest_bytes: int,
    dest_stride: int,
    dest_type: int,
    spoilt: int,
) -> int:
    """See `packbits.cu`."""
    rows, here = min(rows, items // span), _dtype(dest_type)
    known = here is not None and 0 < width <= 64 and first + width <= 64
    if not known or head + -(-count * width // 8) > nbytes:
        return rows
    packed = _rows_at(source, source_bytes, rows, source_stride, nbytes, np.dtype(np.uint8))
    result = _rows_at(dest, dest_bytes, rows, dest_stride, count, here)
    if packed is None or result is None or here is None:
        return rows
    if padding_at < nbytes:
        _spoil(spoilt, rows, packed[:, padding_at] != padding)
    order: Any = "big" if backwards else "little"
    bits = np.unpackbits(packed[:, head:], axis=1, count=count * width, bitorder=order).reshape(rows, count, width)
    values = (bits.astype(np.uint64) << np.arange(first, first + width, dtype=np.uint64)).sum(axis=2, dtype=np.uint64)
    if dest_type & SIGNED:
        values[bits[:, :, -1] == 1] |= np.uint64((1 << 64) - (1 << first + width - 1))
    unsigned = np.dtype(f"u{here.itemsize}")
    result.view(unsigned if here.isnative else unsigned.newbyteorder())[...] = values.astype(unsigned)
    return 0


# ---- delta.cu


def _integers(code: int) -> np.dtype[Any] | None:
    dtype = _dtype(code)
    return dtype if dtype is not None and dtype.kind in "iu" else None


def delta_sums(
    items: int,
    count: int,
    segment: int,
    segments: int,
    source: int,
    source_bytes: int,
    source_stride: int,
    source_type: int,
    sums: int,
) -> int:
    """See `delta.cu`."""
    rows, dtype = items // segments, _integers(source_type)
    numbers = _rows_at(source, source_bytes, rows, source_stride, count, dtype)
    if numbers is None:
        return items
    padded = np.zeros((rows, segments * segment), np.uint64)
    padded[:, :count] = numbers.astype(np.int64 if source_type & SIGNED else np.uint64).view(np.uint64)
    table_at(sums, rows, segments)[:] = padded.reshape(rows, segments, segment).sum(axis=2, dtype=np.uint64)
    return 0


def delta_starts(items: int, segments: int, sums: int) -> int:
    """See `delta.cu`."""
    table = table_at(sums, items, segments)
    table[:] = np.cumsum(table, axis=1) - table
    return 0


def delta_running(
    items: int,
    count: int,
    segment: int,
    segments: int,
    source: int,
    source_bytes: int,
    source_stride: int,
    source_type: int,
    sums: int,
    dest: int,
    dest_bytes: int,
    dest_stride: int,
    dest_type: int,
) -> int:
    """See `delta.cu`."""
    rows = items // segments
    numbers = _rows_at(source, source_bytes, rows, source_stride, count, _integers(source_type))
    result = _rows_at(dest, dest_bytes, rows, dest_stride, count, _integers(dest_type))
    if numbers is None or result is None:
        return items
    native = result.dtype.newbyteorder("=")
    result[...] = np.cumsum(numbers.astype(native), axis=1, dtype=native)
    return 0


def delta_floats(
    items: int,
    count: int,
    type: int,
    source: int,
    source_bytes: int,
    source_stride: int,
    dest: int,
    dest_bytes: int,
    dest_stride: int,
    spoilt: int,
) -> int:
    """See `delta.cu`. Behind a sum that is NaN nothing is written."""
    dtype = _dtype(type)
    if dtype is None or dtype.kind != "f":
        return items
    numbers = _rows_at(source, source_bytes, items, source_stride, count, dtype)
    result = _rows_at(dest, dest_bytes, items, dest_stride, count, dtype)
    if numbers is None or result is None:
        return items
    native = dtype.newbyteorder("=")
    with np.errstate(all="ignore"):
        sums = np.cumsum(numbers.astype(native), axis=1, dtype=native)
    bad = np.isnan(sums)
    before = np.cumsum(bad, axis=1) - bad > 0
    result[...] = np.where(before, result, np.where(bad, np.zeros(1, native), sums))
    _spoil(spoilt, items, bad.any(axis=1))
    return 0
