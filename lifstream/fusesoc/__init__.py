"""What FuseSoC reads: a generator that writes a network's Verilog, and a core that is made by it."""
