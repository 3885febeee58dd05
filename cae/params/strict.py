"""What all params share: unknown keys are refused, nothing is converted silently, a mistake is one line of words."""

import difflib
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # PyTorch's generator on a CPU takes 32 bits
Precision = Literal["auto", "float32", "bfloat16"]  # of products; auto: what the device has natively
SWITCHES = {"true": ("yes", "on", "true", "1"), "false": ("no", "off", "false", "0")}  # what people write for them
SHA256 = Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]  # of a file; its beginning is enough


def _distinct(seeds: list[int]) -> list[int]:
    if twice := [seed for seed in seeds if seeds.count(seed) > 1]:
        raise refusal(f"{twice[0]} is there twice")
    return seeds


Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class Strict(BaseModel):
    """No unknown keys, no silent conversions, no number without an end (.inf, .nan)."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def refuse_unknown_keys(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                raise refusal(unknown(key, cls.model_fields))
        return data


class Job(Strict):
    """What a job over a pretrained encoder is told beside its recipe."""

    seed: Seed
    precision: Precision = "auto"


def refusal(message: str, *key: str) -> ValidationError:
    """To raise in a validator: what is wrong with `key` below what it validates, or with all of that."""
    return refusals({key: message})


def refusals(messages: dict[tuple, str]) -> ValidationError:
    """To raise: what is wrong with several keys."""
    return ValidationError.from_exception_data("params", [_line(message, key, {}) for key, message in messages.items()])


def moved(error: ValidationError, place: Callable[[tuple], tuple]) -> ValidationError:
    """The same about other keys: `place` says where each is to be found."""
    lines = [_line(each["msg"] + _remedy(each), place(each["loc"]), each["input"]) for each in error.errors()]
    return ValidationError.from_exception_data("params", lines)


def _line(message: str, key: tuple, found: Any) -> dict:
    error = PydanticCustomError("refused", "{message}", {"message": message})  # braces in it would be places to fill
    return {"type": error, "loc": key, "input": found}


def unknown(key: str, valid) -> str:
    """ "unknown key 'x'", with the nearest valid name where one is near."""
    if key is None:
        return f"missing; one of: {', '.join(valid)}"
    near = nearest(key, valid)
    return f"unknown key {key!r}; " + (f"did you mean {near!r}?" if near else f"valid keys: {', '.join(valid)}")


def nearest(key: str, valid) -> str | None:
    """Return the valid name that is most like `key`, whatever their capitals; None where none is near."""
    names = {str(name).casefold(): name for name in valid}
    near = difflib.get_close_matches(str(key).casefold(), names, n=1, cutoff=0.5)
    return names[near[0]] if near else None


def describe(error: dict) -> str:
    """One pydantic error as "key.key: message"."""
    loc, message, context = error["loc"], error["msg"] + _remedy(error), error.get("ctx", {})
    if "discriminator" in context:  # of a union: the key that names the kind
        loc = (*loc, context["discriminator"].strip("'"))
        tags = re.findall(r"'([^']*)'", context.get("expected_tags", ""))
        message = unknown(context["tag"], tags) if tags else "Field required"
    where = ".".join(str(part) for part in loc if part != "[key]")
    found = "" if isinstance(error["input"], dict) else f" (found {error['input']!r})"
    return (f"{where}: " if where else "") + message + found


def _remedy(error: dict) -> str:
    """Return "; write …" where a value of another type shows what was meant; nothing where it does not."""
    kind, found = error["type"], error["input"]
    if kind == "string_type" and isinstance(found, (int, float)):
        return "; write it in quotes"
    if kind == "bool_type":
        meant = [switch for switch, words in SWITCHES.items() if str(found).lower() in words]
        return f"; write {meant[0]}" if meant else ""
    if kind in ("int_type", "float_type") and isinstance(found, (str, float)):
        try:
            number = float(found)
        except ValueError:
            return ""
        if number.is_integer():
            return f"; write {int(number)}"
        if kind == "float_type" and math.isfinite(number):
            return f"; write {number}"
    return ""


def named(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise refusal(f"not a name: {name!r}; letters, digits, '.', '_' and '-' make one, neither '.' nor '-' first")
    return name


def within_the_image(areas: list[float]) -> list[float]:
    low, high = areas
    if not 0 < low <= high <= 1:
        raise refusal(f"{areas}: a crop has from 0 (not with it) to 1 of the image's area, the smallest first")
    return areas


Areas = Annotated[Pair, AfterValidator(within_the_image)]  # of random crops, of the image's
Name = Annotated[str, AfterValidator(named)]  # becomes a part of paths and a word of command lines
