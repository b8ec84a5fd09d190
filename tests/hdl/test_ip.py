"""What goes with a core for catalogues of IP: the script for Vivado, run by a Tcl of its own, and IP-XACT."""

from __future__ import annotations

import functools
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import lifstream
from lifstream.golden.contract.flat import flat_network
from lifstream.hdl.emit import emit_axi, emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.ipxact import component
from lifstream.hdl.usage import companions

SPEC = flat_network(sizes=(7, 5, 3), steps=8)
needs_tcl = pytest.mark.skipif(shutil.which("tclsh") is None, reason="Tcl is not installed")

# Vivado's commands, each of which says how it was called; of the interfaces those are there that MISSING does not name.
VIVADO = r"""
set inferred {s_axis m_axis s_axi aclk aresetn}
proc told {name arguments} {puts [list $name {*}$arguments]}
namespace eval ipx {}
foreach command {create_project read_verilog set_property ipx::package_project ipx::associate_bus_interfaces
                 ipx::create_xgui_files ipx::update_checksums ipx::check_integrity ipx::save_core close_project} {
  proc ::$command args "told $command \$args"
}
proc current_fileset {} {return SOURCES}
proc ipx::current_core {} {return CORE}
proc ipx::get_bus_interfaces {name of core} {
  if {$of ne "-of_objects" || $core ne "CORE"} {error "wrong call"}
  return [expr {$name in $::inferred && $name ne "MISSING" ? $name : ""}]
}
proc ipx::get_bus_parameters {name of interface} {return PARAMETERS}
proc ipx::add_bus_parameter {name interface} {
  told ipx::add_bus_parameter [list $name $interface]
  return "$interface/$name"
}
"""


@functools.cache
def described(*, axi: bool) -> dict[str, Any]:
    make = emit_axi if axi else emit_network
    return make(spec=SPEC, geometry=Geometry(lanes=3), preset='x"[exit]', name="my_core").description


@pytest.fixture(scope="module")
def axi() -> dict[str, Any]:
    return described(axi=True)


def package(description: dict[str, Any], folder: Path, *arguments: str, missing: str = "none", parameters: str = '""'
            ) -> subprocess.CompletedProcess[str]:
    script = folder / "package_ip.tcl"
    script.write_text(companions(description)["package_ip.tcl"])
    vivado = folder / "vivado.tcl"
    vivado.write_text(VIVADO.replace("MISSING", missing).replace("PARAMETERS", parameters)
                      + f"set argv [list {' '.join(arguments)}]\nsource {{{script}}}\n")
    return subprocess.run(["tclsh", str(vivado)], capture_output=True, text=True, check=False)


@needs_tcl
def test_the_package_is_for_every_part(axi: dict[str, Any], tmp_path: Path) -> None:
    done = package(axi, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    calls = done.stdout.splitlines()
    assert calls[0] == "create_project -in_memory"
    assert "set_property supported_families {} CORE" in calls
    assert "set_property auto_family_support_level level_2 CORE" in calls
    script = (tmp_path / "package_ip.tcl").read_text()
    assert re.search(r"\bxc\w+", script) is None
    assert package(axi, tmp_path, "xcku5p-ffvb676-2-e").stdout.splitlines() == [
        "create_project -in_memory -part xcku5p-ffvb676-2-e", *calls[1:]]


@needs_tcl
def test_the_package_says_what_belongs_together(axi: dict[str, Any], tmp_path: Path) -> None:
    calls = package(axi, tmp_path).stdout.splitlines()
    assert calls[1:4] == [f"read_verilog {tmp_path / 'my_core.v'}", "set_property top my_core SOURCES",
                          f"ipx::package_project -root_dir {tmp_path} -vendor lifstream -library user "
                          "-taxonomy /UserIP -import_files -force"]
    major, minor, revision = lifstream.__version__.split(".")[:3]
    assert {"set_property name my_core CORE", f"set_property version {major}.{minor} CORE",
            f"set_property core_revision {revision} CORE"} <= set(calls)
    [shown] = [call for call in calls if call.startswith("set_property display_name")]
    assert "preset x??exit?" in shown
    assert [call for call in calls if "associate" in call] == [
        *(f"ipx::associate_bus_interfaces -busif {name} -clock aclk CORE" for name in ("s_axis", "m_axis", "s_axi")),
        "ipx::associate_bus_interfaces -clock aclk -reset aresetn CORE"]
    assert calls[-7:] == ["ipx::add_bus_parameter POLARITY aresetn", "set_property value ACTIVE_LOW aresetn/POLARITY",
                          "ipx::create_xgui_files CORE", "ipx::update_checksums CORE", "ipx::check_integrity CORE",
                          "ipx::save_core CORE", "close_project"]
    inferred = package(axi, tmp_path, parameters="there").stdout.splitlines()
    assert "set_property value ACTIVE_LOW there" in inferred
    assert not any("add_bus_parameter" in call for call in inferred)


@needs_tcl
@pytest.mark.parametrize("missing", ["s_axis", "s_axi", "aresetn"])
def test_an_interface_that_was_not_inferred_is_named(axi: dict[str, Any], tmp_path: Path, missing: str) -> None:
    done = package(axi, tmp_path, missing=missing)
    assert done.returncode == 1
    assert f"my_core: the interface {missing} was not inferred" in done.stderr
    assert "save_core" not in done.stdout


def shape(element: ElementTree.Element) -> tuple[str, str, dict[str, str], list[Any]]:
    """An element without what a reader adds by itself: the value that ``bitSteering`` has when nothing is said."""
    attributes = {name: value for name, value in element.attrib.items() if not name.endswith("schemaLocation")}
    name = element.tag.split("}")[1].replace("componentType", "component")
    return name, (element.text or "").strip(), attributes, [
        shape(child) for child in element if not child.tag.endswith("}bitSteering")]


def reread(text: str, folder: Path) -> str:
    """What a reader of the schema's own classes writes again: what it knows, in the schema's order."""
    from ipyxact import ipxact2014

    (folder / "core.xml").write_text(text)
    written = io.StringIO()
    ipxact2014.parse(str(folder / "core.xml"), silence=True).export(written, 0)
    return written.getvalue()


@pytest.mark.parametrize("axi", [False, True])
def test_ip_xact_follows_its_schema(tmp_path: Path, axi: bool) -> None:
    text = companions(described(axi=axi))["my_core.xml"]
    assert shape(ElementTree.fromstring(text)) == shape(ElementTree.fromstring(reread(text, tmp_path)))


@pytest.mark.parametrize(("right", "wrong"), [
    ("ipxact:moduleName>", "ipxact:moduleNames>"),                                           # no such element
    ("<ipxact:library>core</ipxact:library>\n  <ipxact:name>my_core</ipxact:name>",
     "<ipxact:name>my_core</ipxact:name>\n  <ipxact:library>core</ipxact:library>"),         # another order
])
def test_the_schema_check_can_fail(axi: dict[str, Any], tmp_path: Path, right: str, wrong: str) -> None:
    text = companions(axi)["my_core.xml"]
    assert right in text
    text = text.replace(right, wrong)
    assert shape(ElementTree.fromstring(text)) != shape(ElementTree.fromstring(reread(text, tmp_path)))


@pytest.mark.parametrize("axi", [False, True])
def test_ip_xact_says_what_the_verilog_has(axi: bool) -> None:
    description = described(axi=axi)
    root = ElementTree.fromstring(component(description, ["my_core.v"]))
    names = {"ipxact": "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"}

    def texts(path: str, of: ElementTree.Element = root) -> list[str]:
        return [found.text or "" for found in of.findall(path.replace("/", "/ipxact:").replace("./ipxact:/", ".//"),
                                                         names)]

    ports = {port["name"]: port for port in description["ports"]}
    assert [texts(f"./{part}") for part in ("vendor", "library", "name", "version")] == [
        ["lifstream"], ["core"], ["my_core"], [lifstream.__version__]]
    assert texts("./model/ports/port/name") == list(ports)
    for port in root.findall("ipxact:model/ipxact:ports/ipxact:port", names):
        told = ports[texts("./name", port)[0]]
        assert texts("./wire/direction", port) == [told["direction"]]
        assert texts("./wire/vectors/vector/left", port) == ([str(told["width"] - 1)] if told["width"] > 1 else [])
    interfaces = {texts("./name", each)[0]: each for each in root.findall("ipxact:busInterfaces/*", names)}
    assert list(interfaces) == (["s_axis", "m_axis", "s_axi"] if axi else ["commands", "replies"])
    mapped = []
    for name, interface in interfaces.items():
        logical, physical = (texts(f"./abstractionTypes/abstractionType/portMaps/portMap/{kind}Port/name", interface)
                             for kind in ("logical", "physical"))
        assert logical[:2] == (["ACLK", "ARESETn"] if axi else ["ACLK", "TDATA"])
        assert physical[:1 + axi] == (["aclk", "aresetn"] if axi else ["clk"])
        mapped += physical
        # Who drives TVALID, or AWVALID, is the master.
        drives = ports[physical[logical.index("AWVALID" if name == "s_axi" else "TVALID")]]["direction"] == "out"
        assert (interface.find("ipxact:master", names) is not None) == drives
        assert (interface.find("ipxact:slave", names) is None) == drives
    assert set(mapped) == set(ports) - ({"rst"} if not axi else set())
    if axi:
        [block] = root.findall("ipxact:memoryMaps/ipxact:memoryMap/ipxact:addressBlock", names)
        assert int(texts("./range", block)[0]) > max(description["registers"].values())
