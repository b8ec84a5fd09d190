"""Co-simulation: the emitted Verilog against the golden model. Start with :mod:`lifstream.sim.cosim`."""
