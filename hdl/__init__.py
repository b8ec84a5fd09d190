"""The hardware: Amaranth components joined by streams. Start with :mod:`lifstream.hdl.network`."""
