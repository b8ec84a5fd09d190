"""The same formulas compiled: equal bit for bit, many times faster."""
