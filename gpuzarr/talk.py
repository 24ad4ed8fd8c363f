"""What gpuzarr tells about itself: versions, and the log."""

from __future__ import annotations

import logging
import platform
import sys
from typing import Literal

from gpuzarr._version import __version__

SHOWN_PACKAGES = ("numpy", "numcodecs", "google-crc32c", "fsspec", "ml_dtypes", "zfpy", "pcodec", "cupy-cuda13x")
_logger = logging.getLogger("gpuzarr")


def print_debug_info() -> None:
    """Print the versions that belong in a bug report."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and needed only here

    lines = [f"platform: {platform.platform()}", f"python: {platform.python_version()}", f"gpuzarr: {__version__}"]
    for name in SHOWN_PACKAGES:
        try:
            lines.append(f"{name}: {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name}: not installed")
    sys.stdout.write("\n".join(lines) + "\n")


def set_log_level(level: Literal["NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]) -> None:
    """Log from this level on."""
    _logger.setLevel(level)
    for handler in _logger.handlers:
        handler.setLevel(level)


def set_format(log_format: str) -> None:
    """Log in this format (of `logging.Formatter`), to standard error where no handler was set."""
    if not _logger.handlers:
        _logger.addHandler(logging.StreamHandler())
    for handler in _logger.handlers:
        handler.setFormatter(logging.Formatter(fmt=log_format))
