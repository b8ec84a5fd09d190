"""What all declarations share: kinds with names, checks, and a form in JSON."""

from __future__ import annotations

import enum
import types
import typing
from dataclasses import fields
from typing import Any, ClassVar, Self, cast, get_args, get_type_hints

from lifstream.golden.contract.errors import InputError

__all__ = ["Declaration", "require_integer"]


def require_integer(name: str, value: object, low: int, high: int) -> None:
    """Raise InputError, naming field, value and bound, when ``value`` is not an integer from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name}: {value!r} is not an integer")
    if not low <= value <= high:
        raise InputError(f"{name}: {value} is out of bounds, must be {low}..{high}")


class Declaration:
    """Base of the contract's frozen dataclasses.

    A family of kinds (synapses, neurons, rules, ...) is a subclass given ``family``; each kind is a subclass of that
    given ``kind``, the name it has in JSON, and is known from then on.
    """

    kind: ClassVar[str] = ""
    added: ClassVar[tuple[str, ...]] = ()
    """Fields that were added later: left out of JSON at their defaults, so that digests stay."""
    _kinds: ClassVar[dict[str, type[Declaration]]] = {}
    _family: ClassVar[str] = ""

    def __init_subclass__(cls, *, family: str = "", kind: str = "", **further: Any) -> None:
        super().__init_subclass__(**further)
        if family:
            cls._family, cls._kinds = family, {}
        if kind:
            cls.kind = kind
            cls._kinds[kind] = cls

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values, the kind first where there are several."""
        plain = {entry.name: _plain(value) for entry in fields(cast(Any, self))
                 if (value := getattr(self, entry.name)) != entry.default or entry.name not in self.added}
        return {"kind": self.kind, **plain} if self.kind else plain

    @classmethod
    def from_json(cls, data: object, where: str) -> Self:
        """The inverse of :meth:`to_json`; called on a family, it finds the kind.

        Parameters
        ----------
        data
            Plain JSON values.
        where
            What to call this place in messages.

        Raises
        ------
        InputError
            A kind or a field is unknown, missing, of another type, or out of bounds.
        """
        if not isinstance(data, dict):
            raise InputError(f"{where}: expected a JSON object, got {type(data).__name__}")
        values = dict(data)
        found: Any = cls
        if cls._family:
            kind = values.pop("kind", None)
            if not isinstance(kind, str) or kind not in cls._kinds:
                raise InputError(f"{where}.kind: {kind!r} is no {cls._family}, must be one of {', '.join(cls._kinds)}")
            found = cls._kinds[kind]
        known = get_type_hints(found)
        names = {entry.name for entry in fields(found)}
        if unknown := sorted(set(values) - names):
            raise InputError(f"{where}: unknown field {unknown[0]!r}; was it made by a newer version?")
        restored = {name: _restored(known[name], value, f"{where}.{name}") for name, value in values.items()}
        try:
            return cast(Self, found(**restored))
        except TypeError:
            missing = sorted(names - set(values))
            raise InputError(f"{where}: a field is missing, one of {', '.join(missing)}") from None
        except InputError as error:
            raise InputError(f"{where}.{error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Declaration):
        return value.to_json()
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value.value if isinstance(value, enum.Enum) else value


def _restored(hint: Any, value: Any, where: str) -> Any:
    """A plain JSON value as a field of type ``hint``; what is not its like is left for the field's own check."""
    if isinstance(hint, types.UnionType):  # X | None, or a number | a declaration
        return None if value is None else _restored(_arm(hint, value), value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: expected a list, got {type(value).__name__}")
        return tuple(_restored(get_args(hint)[0], entry, f"{where}[{index}]") for index, entry in enumerate(value))
    if isinstance(hint, type) and issubclass(hint, Declaration):
        return hint.from_json(value, where)
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        try:
            return hint(value)
        except ValueError:
            raise InputError(f"{where}: {value!r} must be one of {', '.join(hint)}") from None
    return value


def _arm(union: types.UnionType, value: Any) -> Any:
    """Which type of a union is meant: of a JSON object the declaration, otherwise the first."""
    declared = [arm for arm in get_args(union) if isinstance(arm, type) and issubclass(arm, Declaration)]
    return declared[0] if declared and isinstance(value, dict) else get_args(union)[0]
