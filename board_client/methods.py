"""How a client's method shows itself that is made of a function of `calls`."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin

from board_client.calls import Listing

Method = TypeVar("Method", bound=Callable[..., Any])

_SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)


def presented(method: Method, build: Callable[..., Any], client: str) -> Method:
    """Give a method what `help` shows of it: what its callers give, and what they get.

    The function's `scope` is the client's own, and its Call, Listing or Stream
    is what the client sends.
    """
    signature = inspect.signature(build)
    arguments = [each for each in signature.parameters.values() if each.name != "scope"]
    sent = signature.return_annotation
    result = get_args(sent)[-1]
    returned = list[result] if get_origin(sent) is Listing else result  # type: ignore[valid-type]
    told: Any = method
    told.__name__ = build.__name__
    told.__qualname__ = f"{client}.{build.__name__}"
    told.__doc__ = build.__doc__
    told.__annotations__ = {each.name: each.annotation for each in arguments} | {"return": returned}
    told.__signature__ = signature.replace(
        parameters=[_SELF, *arguments], return_annotation=returned
    )
    return method
