"""What all params share: unknown keys are refused, nothing is converted silently, a mistake is one line of words."""

import difflib
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**20)]  # the loop packs it into one number with step and process
SHA256 = Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]  # of a file; its beginning is enough


class Strict(BaseModel):
    """No unknown keys, no silent conversions."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def refuse_unknown_keys(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                raise refusal(unknown(key, cls.model_fields), "unknown_key")
        return data


def refusal(message: str, kind: str = "refused") -> PydanticCustomError:
    """To raise in a validator: pydantic would read braces in the message as places to fill."""
    return PydanticCustomError(kind, "{message}", {"message": message})


def unknown(key: str, valid) -> str:
    """ "unknown key 'x'", with the nearest valid name where one is near."""
    near = difflib.get_close_matches(str(key), list(valid), n=1, cutoff=0.5)
    return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}")


def describe(error: dict) -> str:
    """One pydantic error as "key.key: message"."""
    where = ".".join(str(part) for part in error["loc"])
    value = (
        ""
        if error["type"] in ("unknown_key", "missing") or isinstance(error["input"], dict)
        else f" (found {error['input']!r})"
    )
    return (f"{where}: " if where else "") + error["msg"] + value
