"""The golden model: what is true, bit by bit.

Its rooms, each importing only those before it: :mod:`~lifstream.golden.contract`, :mod:`~lifstream.golden.model`,
:mod:`~lifstream.golden.twin`, :mod:`~lifstream.golden.study`.
"""
