"""The registers of a core behind AXI, compiled from lifstream_axi.rdl: change that, and run
``python -m lifstream.hdl.rdl``."""

from __future__ import annotations

from lifstream.golden.contract.registers import Access, Field, Register

__all__ = ["REGISTERS"]

REGISTERS = (
    Register(name="version", address=0x00, fields=(
        Field(name="version", low=0, width=16, access=Access.READ, reset=0x1, constant=True),
        Field(name="identity", low=16, width=16, access=Access.READ, reset=0x4c46, constant=True),
    )),
    Register(name="control", address=0x04, fields=(
        Field(name="reset", low=0, width=1, access=Access.SET, reset=0x0, constant=False),
        Field(name="clear_counters", low=1, width=1, access=Access.SET, reset=0x0, constant=False),
        Field(name="idle", low=8, width=1, access=Access.READ, reset=None, constant=False),
    )),
    Register(name="digest_low", address=0x08, fields=(
        Field(name="value", low=0, width=32, access=Access.READ, reset=None, constant=False),
    )),
    Register(name="digest_high", address=0x0C, fields=(
        Field(name="value", low=0, width=32, access=Access.READ, reset=None, constant=False),
    )),
    Register(name="images.low", address=0x40, fields=(
        Field(name="value", low=0, width=32, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="images.high", address=0x44, fields=(
        Field(name="value", low=0, width=16, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="learned.low", address=0x48, fields=(
        Field(name="value", low=0, width=32, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="learned.high", address=0x4C, fields=(
        Field(name="value", low=0, width=16, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="skipped.low", address=0x50, fields=(
        Field(name="value", low=0, width=32, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="skipped.high", address=0x54, fields=(
        Field(name="value", low=0, width=16, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="load_cycles.low", address=0x58, fields=(
        Field(name="value", low=0, width=32, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="load_cycles.high", address=0x5C, fields=(
        Field(name="value", low=0, width=16, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="forward_cycles.low", address=0x60, fields=(
        Field(name="value", low=0, width=32, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="forward_cycles.high", address=0x64, fields=(
        Field(name="value", low=0, width=16, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="desire_cycles.low", address=0x68, fields=(
        Field(name="value", low=0, width=32, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="desire_cycles.high", address=0x6C, fields=(
        Field(name="value", low=0, width=16, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="update_cycles.low", address=0x70, fields=(
        Field(name="value", low=0, width=32, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="update_cycles.high", address=0x74, fields=(
        Field(name="value", low=0, width=16, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="idle_cycles.low", address=0x78, fields=(
        Field(name="value", low=0, width=32, access=Access.READ, reset=0x0, constant=False),
    )),
    Register(name="idle_cycles.high", address=0x7C, fields=(
        Field(name="value", low=0, width=16, access=Access.READ, reset=0x0, constant=False),
    )),
)
"""In ascending order of addresses."""
