"""What all wrapped codecs share: a free configuration, and numcodecs' own object when it is needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from gpuzarr.codecs.contract import Codec, is_integer
from gpuzarr.errors import CorruptChunkError, EncodeError, GpuzarrError, MetadataError, UnknownCodecError

T = TypeVar("T")
PREFIX = "numcodecs."


class Numcodec(Codec):
    """A codec with numcodecs' id and configuration; `config` holds the configuration without the id."""

    codec_id: ClassVar[str]
    package: ClassVar[str | None] = None  # what has to be installed beside numcodecs

    def __init__(self, **config: Any) -> None:
        identity = config.pop("id", self.codec_id)
        if identity != self.codec_id:
            raise MetadataError(f"codec {self.name!r} got the configuration of {identity!r}")
        self.config: dict[str, Any] = config
        self.check()

    def check(self) -> None:
        """Raise MetadataError for a configuration that cannot be."""

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any]) -> Self:
        try:
            return cls(**configuration)
        except TypeError as error:
            raise MetadataError(f"codec {cls.name!r}: bad configuration {dict(configuration)!r}: {error}") from error

    def configuration(self) -> dict[str, Any]:
        return dict(self.config)

    def with_config(self, **more: Any) -> Self:
        """This codec with some of its configuration replaced."""
        return type(self)(**{**self.config, **more})

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """An integer of the configuration. MetadataError outside [low, high]."""
        value = self.config.get(key, default)
        if not is_integer(value, low, high):
            raise MetadataError(f"codec {self.name!r}: {key} is an integer from {low} to {high}, not {value!r}")
        return int(value)

    @cached_property
    def wrapped(self) -> Any:
        """numcodecs' object. UnknownCodecError where a package is missing, MetadataError for a bad configuration."""
        import numcodecs

        try:
            return numcodecs.get_codec({"id": self.codec_id, **self.config})
        except ImportError as error:
            raise self.missing() from error
        except Exception as error:
            if "codec not available" in str(error) or type(error).__name__ == "UnknownCodecError":
                raise self.missing() from error
            raise MetadataError(f"codec {self.name!r}: {error}") from error

    def missing(self) -> UnknownCodecError:
        """The error for a package that is not installed."""
        return UnknownCodecError(f"codec {self.name!r} needs the package {self.package or 'numcodecs'!r}")

    def safely(self, call: Callable[..., T], *arguments: Any) -> T:
        """`call` while decoding, with whatever it raises as CorruptChunkError. Codecs in Rust raise beside
        `Exception`."""
        try:
            with np.errstate(all="ignore"):
                return call(*arguments)
        except (GpuzarrError, MemoryError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            raise CorruptChunkError(f"{type(error).__name__}: {error}", codec=self.name) from error

    def encoding(self, call: Callable[..., T], *arguments: Any) -> T:
        """`call` while encoding, with whatever it raises as EncodeError."""
        try:
            with np.errstate(all="ignore"):
                return call(*arguments)
        except (GpuzarrError, MemoryError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            raise EncodeError(f"codec {self.name!r}: {type(error).__name__}: {error}") from error

    def _identity(self) -> tuple[Any, ...]:
        return (type(self), json.dumps(self.config, sort_keys=True, default=repr))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numcodec) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config.items())})"


def dtype_of(codec: Codec, value: Any) -> np.dtype[Any]:
    """A NumPy data type that stands in a configuration. MetadataError where there is none, or of objects."""
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except (TypeError, ValueError) as error:
        raise MetadataError(f"codec {codec.name!r}: not a data type: {value!r}") from error
    if dtype.hasobject or not dtype.itemsize:
        raise MetadataError(f"codec {codec.name!r}: impossible data type {value!r}")
    return dtype
