"""The definition in NumPy: what a network does with its spikes, bit by bit."""
