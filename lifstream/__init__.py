"""Spiking-network hardware that learns on chip, and the ``lifstream`` command over it.

The rooms ``lifstream.golden``, ``lifstream.hdl``, ``lifstream.sim`` and ``lifstream.boards`` are the folders of these
names at the top of the source tree.
"""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("lifstream")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "unknown"
