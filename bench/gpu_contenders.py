"""Who brings a store into an array on the GPU: gpuzarr, its own CPU device and one copy, and the rivals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import gpuzarr

OURS = "gpuzarr"


class Contender(ABC):
    """One way; `prepare` opens the store and gives the read that is timed."""

    name: str
    module = ""  # that must be installed

    def available(self, device: Any) -> bool:
        """Whether it can run here."""
        return not self.module or find_spec(self.module) is not None

    @abstractmethod
    def prepare(self, path: Path, device: Any) -> Callable[[], Any]:
        """A function that gives the whole array on the device."""


class OnDevice(Contender):
    """gpuzarr, decoding on the device; with its own number of lanes and size of waves, where they are given."""

    def __init__(self, lanes: int | None = None, wave_bytes: int | None = None) -> None:
        self.lanes, self.wave_bytes = lanes, wave_bytes
        self.name = OURS if lanes is None else f"{OURS} {lanes} x {(wave_bytes or 0) >> 20}M"

    def prepare(self, path: Path, device: Any) -> Callable[[], Any]:
        array = gpuzarr.open_array(path, mode="r", device=device)

        def read() -> Any:
            before = device.lanes, device.wave_bytes
            device.lanes, device.wave_bytes = self.lanes or before[0], self.wave_bytes or before[1]
            try:
                return array[...]
            finally:
                device.lanes, device.wave_bytes = before

        return read


class OnHost(Contender):
    """gpuzarr, decoding on all cores into page-locked memory, and one copy."""

    name = "gpuzarr cpu + copy"

    def prepare(self, path: Path, device: Any) -> Callable[[], Any]:
        array = gpuzarr.open_array(path, mode="r", device="cpu")
        room = device.pinned(array.nbytes).view(array.dtype).reshape(array.shape)

        def read() -> Any:
            there = device.empty(array.shape, array.dtype)
            array.get_basic_selection(out=room)
            device.run(lambda _, lane: device.copy_in(device.address(there), room, lane), 1)
            return there

        return read


class Tensorstore(Contender):
    """tensorstore on all cores, and one copy out of its array."""

    name = "tensorstore + copy"
    module = "tensorstore"

    def prepare(self, path: Path, device: Any) -> Callable[[], Any]:
        import tensorstore

        store = {"driver": "file", "path": str(path)}
        array = tensorstore.open({"driver": "zarr3", "kvstore": store}, open=True, read=True).result()
        return lambda: device.upload(np.asarray(array.read().result()))


class ZarrGpu(Contender):
    """zarr-python with `enable_gpu`, which decodes on the CPU too."""

    name = "zarr-python enable_gpu"
    module = "zarr"

    def available(self, device: Any) -> bool:
        return device.name.startswith("cuda") and super().available(device)

    def prepare(self, path: Path, device: Any) -> Callable[[], Any]:
        import zarr

        def read() -> Any:
            with zarr.config.enable_gpu(), device.xp.cuda.Device(device.number):
                return zarr.open_array(path, mode="r")[...]

        return read


SWEEP = [OnDevice(lanes, mebibytes << 20) for lanes in (1, 2, 4, 8) for mebibytes in (16, 64, 128)]
ALL: list[Contender] = [OnDevice(), OnHost(), Tensorstore(), ZarrGpu()]
