"""The ``lifstream`` command."""
