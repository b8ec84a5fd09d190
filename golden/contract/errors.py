"""The one error for what a user supplied."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """Something the user supplied is wrong; the message is one line that names it and the mend."""
