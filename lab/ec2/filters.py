"""How EC2's Describes choose what to show: filters with patterns, and pages."""

import base64
import fnmatch
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.elastic_network_interfaces import NetworkInterface

Thing = TypeVar("Thing", bound=TaggedEC2Resource)
Values = Callable[[Thing], Iterable[object]]

FILTER_VALUES = 200
"""How many values one filter may have (EC2 user guide, "Filtering resources")."""

PAGE = 1000
"""The largest page, also used if the caller names no size; on AWS, older accounts then get everything."""


def select(
    things: Iterable[Thing], filters: Mapping[str, Sequence[str]], table: Mapping[str, Values[Thing]]
) -> list[Thing]:
    """The things that match all filters; `table` says by filter name which values it looks at; tags need no entry."""
    found = list(things)
    for name, patterns in filters.items():
        if len(patterns) > FILTER_VALUES:
            raise EC2ClientError(
                "FilterLimitExceeded",
                f"The maximum number of filter values specified on a single call is {FILTER_VALUES}",
            )
        values = _values(name, table)
        found = [thing for thing in found if _matches(values(thing), patterns)]
    return found


def page(
    found: Sequence[NetworkInterface], size: int | None, token: str | None
) -> tuple[list[NetworkInterface], str | None]:
    """The page after the token, and the token of the next one; MaxResults is 5 to 1000 [BOTO]."""
    if size is not None and not 5 <= size <= PAGE:
        raise EC2ClientError("InvalidParameterValue", f"Value ({size}) for parameter maxResults is invalid.")
    size = size or PAGE
    rest = list(found)
    if token is not None:
        last = base64.urlsafe_b64decode(token).decode()
        if last not in {eni.id for eni in found}:
            raise EC2ClientError("InvalidNextToken", f"The token '{token}' is invalid.")
        rest = list(itertools.dropwhile(lambda eni: eni.id != last, found))[1:]
    if len(rest) <= size:
        return rest, None
    return rest[:size], base64.urlsafe_b64encode(rest[size - 1].id.encode()).decode()


def _values(name: str, table: Mapping[str, Values[Thing]]) -> Values[Thing]:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda thing: [tag["value"] for tag in thing.get_tags() if tag["key"] == key]
    if name == "tag-key":
        return lambda thing: [tag["key"] for tag in thing.get_tags()]
    try:
        return table[name]
    except KeyError:
        raise EC2ClientError("InvalidParameterValue", f"The filter '{name}' is invalid") from None


def _matches(values: Iterable[object], patterns: Sequence[str]) -> bool:
    """Whether one value fits one pattern; EC2's patterns know * and ?, and care for case."""
    return any(fnmatch.fnmatchcase(str(value), pattern) for value in values for pattern in patterns)
