"""The golden model: what is true, bit by bit. Start with :mod:`lifstream.golden.spec`."""
