"""Co-simulation: the emitted Verilog against the golden model. Start with :mod:`sim.cosim`."""
