"""A core's description as an IP-XACT component (IEEE 1685-2014), for tools of any maker.

It says what a block design needs: ports, bus interfaces with the clock and reset that belong to them, the size of the
register block, and the sources. The registers themselves are in ``NAME.v.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import lifstream
from lifstream.hdl.names import comment

__all__ = ["component"]

_NAMESPACE = "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"
_SCHEMA_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_REGISTER_BITS = 32
_VENDOR, _LIBRARY = "lifstream", "core"

# Bus types of ARM's AMBA 4 definitions: name, version.
_STREAM, _LITE = ("AXI4Stream", "r0p0_1"), ("AXI4-Lite", "r0p0")


def _child(parent: ElementTree.Element, path: str, text: str | int | None = None, **attributes: str
           ) -> ElementTree.Element:
    """Append elements, each in the one before; the last has the text and attributes."""
    for name in path.split("/"):
        parent = ElementTree.SubElement(parent, f"{{{_NAMESPACE}}}{name}")
    if text is not None:
        parent.text = str(text)
    parent.attrib.update(attributes)
    return parent


def _vlnv(bus: tuple[str, str], suffix: str = "") -> dict[str, str]:
    return {"vendor": "amba.com", "library": "AMBA4", "name": bus[0] + suffix, "version": bus[1]}


def _interfaces(description: dict[str, Any]) -> list[tuple[str, tuple[str, str], bool, dict[str, str]]]:
    """Name, bus, whether it is the initiating end, and the port behind each logical port."""
    if description.get("interface") != "axi":
        common = {"ACLK": description["clock"]}  # its reset is active high, of which these buses know nothing
        parts = {"TDATA": "data", "TLAST": "last", "TVALID": "valid", "TREADY": "ready"}
        return [(stream["name"], _STREAM, stream["direction"] == "out",
                 {**common, **{logical: f"{stream['name']}_{part}" for logical, part in parts.items()}})
                for stream in description["streams"]]
    common = {"ACLK": "aclk", "ARESETn": "aresetn"}
    return [(name, bus, name.startswith("m_"),
             {**common, **{port["name"].removeprefix(f"{name}_").upper(): port["name"]
                           for port in description["ports"] if port["name"].startswith(f"{name}_")}})
            for name, bus in (("s_axis", _STREAM), ("m_axis", _STREAM), ("s_axi", _LITE))]


def component(description: dict[str, Any], files: Sequence[str]) -> str:
    """The component as XML text.

    Parameters
    ----------
    description
        Content of ``NAME.v.json``, of a core behind either interface.
    files
        Its Verilog sources, relative to the component's file.
    """
    ElementTree.register_namespace("ipxact", _NAMESPACE)
    ElementTree.register_namespace("xsi", _SCHEMA_INSTANCE)
    root = ElementTree.Element(f"{{{_NAMESPACE}}}component", {
        f"{{{_SCHEMA_INSTANCE}}}schemaLocation": f"{_NAMESPACE} {_NAMESPACE}/index.xsd"})
    name = description["top"]
    for part, text in (("vendor", _VENDOR), ("library", _LIBRARY), ("name", name), ("version", lifstream.__version__)):
        _child(root, part, text)

    axi = description.get("interface") == "axi"
    interfaces = _child(root, "busInterfaces")
    for bus_name, bus, initiates, ports in _interfaces(description):
        interface = _child(interfaces, "busInterface")
        _child(interface, "name", bus_name)
        _child(interface, "busType", **_vlnv(bus))
        abstraction = _child(interface, "abstractionTypes/abstractionType")
        _child(abstraction, "abstractionRef", **_vlnv(bus, "_rtl"))
        maps = _child(abstraction, "portMaps")
        for logical, physical in ports.items():
            joint = _child(maps, "portMap")
            _child(joint, "logicalPort/name", logical)
            _child(joint, "physicalPort/name", physical)
        end = _child(interface, "master" if initiates else "slave")
        if bus is _LITE:
            _child(end, "memoryMapRef", memoryMapRef=bus_name)

    if axi:
        memory = _child(root, "memoryMaps/memoryMap")
        _child(memory, "name", "s_axi")
        block = _child(memory, "addressBlock")
        address = next(port["width"] for port in description["ports"] if port["name"] == "s_axi_awaddr")
        for part, value in (("name", "registers"), ("baseAddress", 0), ("range", 1 << address),
                            ("width", _REGISTER_BITS), ("usage", "register")):
            _child(block, part, value)

    model = _child(root, "model")
    view = _child(model, "views/view")
    _child(view, "name", "verilog")
    _child(view, "componentInstantiationRef", "verilog")
    instantiation = _child(model, "instantiations/componentInstantiation")
    _child(instantiation, "name", "verilog")
    _child(instantiation, "language", "Verilog")
    _child(instantiation, "moduleName", name)
    _child(instantiation, "fileSetRef/localName", "sources")
    declared = _child(model, "ports")
    for port in description["ports"]:
        element = _child(declared, "port")
        _child(element, "name", port["name"])
        wire = _child(element, "wire")
        _child(wire, "direction", port["direction"])
        if port["width"] > 1:
            vector = _child(wire, "vectors/vector")
            _child(vector, "left", port["width"] - 1)
            _child(vector, "right", 0)

    sources = _child(root, "fileSets/fileSet")
    _child(sources, "name", "sources")
    for file in files:
        element = _child(sources, "file")
        _child(element, "name", file)
        _child(element, "fileType", "verilogSource")
    _child(root, "description", f"A spiking network that learns on chip, preset {comment(description['preset'])}, "
                                f"contract {description['spec_digest']}")
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'
