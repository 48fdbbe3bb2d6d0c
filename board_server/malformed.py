"""Requests that are no valid protobuf: say which field is at fault."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from board_server.errors import InvalidArgument, Violation


def parser(message: type[Message]) -> Callable[[bytes], Message]:
    """Make a function that reads such messages, and raises InvalidArgument on what is none.

    It is no deserializer of grpc's: what those raise reaches the caller as
    INTERNAL, and they run before anyone knows whether the caller may ask at all.
    """

    def parse(data: bytes) -> Message:
        try:
            return message.FromString(data)
        except DecodeError:
            raise InvalidArgument([_violation(message.DESCRIPTOR, data)]) from None

    return parse


def _violation(descriptor: Any, data: bytes) -> Violation:
    try:
        lenient = _bytes_twin(descriptor).FromString(data)
    except DecodeError:
        return Violation("request", f"is not a valid {descriptor.full_name} message")
    field = next(_not_utf8(lenient), "request")
    return Violation(field, "must be valid UTF-8")


def _not_utf8(message: Message, prefix: str = "") -> Iterator[str]:
    """Find the byte strings that are no UTF-8, as paths such as `contracts[3].name`."""
    value: Any
    for field, value in message.ListFields():
        values = list(value) if field.is_repeated else [value]
        for index, item in enumerate(values):
            path = f"{prefix}{field.name}" + (f"[{index}]" if field.is_repeated else "")
            if isinstance(item, Message):
                yield from _not_utf8(item, f"{path}.")
            elif isinstance(item, bytes):
                try:
                    item.decode()
                except UnicodeDecodeError:
                    yield path


@cache
def _bytes_twin(descriptor: Any) -> type[Message]:
    """Make a message class with bytes for strings, which parses whatever text is in them."""
    pool = DescriptorPool()
    _add_with_bytes(pool, descriptor.file, set())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(descriptor.full_name))


def _add_with_bytes(pool: DescriptorPool, file: FileDescriptor, done: set[str]) -> None:
    if file.name in done:
        return
    done.add(file.name)
    for dependency in file.dependencies:
        _add_with_bytes(pool, dependency, done)
    copy = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(copy)
    for message in copy.message_type:
        for field in message.field:
            if field.type == field.TYPE_STRING:
                field.type = field.TYPE_BYTES
    pool.Add(copy)
