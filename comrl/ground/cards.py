"""Cards: what a result or a data set says of itself, as frozen records that are checked on entry."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

Tree = dict[str, JsonValue]
"""Plain JSON values by name."""


class Card(BaseModel):
    """One record. A key that it does not know is another version's and is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def read(cls, body: object) -> Self:
        """The record of plain JSON values; ValueError names the first that is missing or does not fit."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or cls.__name__
            raise ValueError(f"{where}: {first['msg'].lower()}") from None
