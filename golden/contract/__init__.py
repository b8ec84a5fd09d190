"""The contract: every number format, neuron, rule and byte, declared.

Start with :mod:`lifstream.golden.contract.network`.
"""
