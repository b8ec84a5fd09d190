"""The C driver of a core behind AXI, its headers written from the contract included."""

from __future__ import annotations

from pathlib import Path

from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import (
    COUNTER_BYTES,
    COUNTERS,
    EVENT_BYTES,
    STATE_ACCESS,
    Command,
    Status,
    command_bytes,
    commands_of,
    item_bytes,
    reply_bytes,
    response_bytes,
)

__all__ = ["FOLDER", "driver_files", "network_header", "protocol_header"]

FOLDER = Path(__file__).parent / "c"
"""Where the driver's sources are."""

_ALIGNMENT = 64     # lines of the caches of common processors


def protocol_header() -> str:
    """``lifstream_protocol.h``: the codes of the host protocol."""
    values = [*((f"COMMAND_{command.name}", f"0x{command:02X}") for command in Command),
              *((f"STATUS_{status.name}", f"0x{status:02X}") for status in Status),
              *((f"COUNTER_{name.upper()}", str(index)) for index, name in enumerate(COUNTERS)),
              ("COUNTERS", str(len(COUNTERS))), ("COUNTER_BYTES", str(COUNTER_BYTES)),
              ("EVENT_BYTES", str(EVENT_BYTES))]
    return _guarded("lifstream_protocol", "/* Codes of the host protocol, written from its declaration. */\n" + "".join(
        f"#define LIFSTREAM_{name} {value}\n" for name, value in values))


def network_header(spec: NetworkSpec, *, name: str) -> str:
    """``NAME_network.h``: what the driver has to know of a network, and how large its buffers have to be.

    Parameters
    ----------
    spec
        The network's contract.
    name
        Of the core, an identifier.
    """
    commands = commands_of(spec)
    longest = 1 + max(command_bytes(spec, command) for command in commands)
    answer = 2 + max(reply_bytes(spec, command) for command in commands)
    learnt = {state: command_bytes(spec, STATE_ACCESS[state].load) for state in spec.learnt_state}
    digest = ", ".join(f"0x{byte:02x}" for byte in bytes.fromhex(spec.digest()))
    values = {
        "sample_bytes": 0 if isinstance(spec.input, Events) else spec.inputs, "classes": spec.classes,
        "responding": spec.responding, "response_bytes": response_bytes(spec),
        "responses_signed": int(spec.response_range[0] < 0), "weight_bytes": item_bytes(spec, "weights"),
        "weights_bytes": learnt["weights"], **{f"{state}_bytes": learnt.get(state, 0) for state in (
            "thresholds", "decays", "current_decays", "reset_values")},
        "seeds": len(spec.random_seeds), "command_bytes": longest, "reply_bytes": answer}
    sizes = "".join(f"#define {name.upper()}_{size}_BUFFER {-(-count // _ALIGNMENT) * _ALIGNMENT}\n"
                    for size, count in (("COMMAND", longest), ("REPLY", answer)))
    members = "".join(f"    {value}u, /* {member} */\n" for member, value in values.items())
    return _guarded(f"{name}_network", f"/* The network of {name}: {spec.summary}. */\n#include \"lifstream.h\"\n\n"
                          f"/* Bytes of the device's buffers. */\n{sizes}\n"
                          f"static const lifstream_network {name}_network = {{\n    {{{digest}}},\n{members}}};\n")


def driver_files() -> dict[str, str]:
    """The driver's sources by name."""
    return {path.name: path.read_text() for path in sorted(FOLDER.glob("*.[ch]"))}


def _guarded(name: str, text: str) -> str:
    guard = f"{name.upper()}_H"
    return f"#ifndef {guard}\n#define {guard}\n\n{text}\n#endif\n"


def _renew() -> None:
    """Write what is kept in the tree."""
    (FOLDER / "lifstream_protocol.h").write_text(protocol_header())


if __name__ == "__main__":
    _renew()
