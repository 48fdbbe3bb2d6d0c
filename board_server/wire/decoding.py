"""Parse requests, and name the field at fault in one that is not valid protobuf."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from board_server.errors import InvalidArgument, Violation
from board_server.wire.validation import MAX_ITEMS

COUNTED = 2**20
"""Bytes of the smallest request whose items are counted before it is parsed."""

MAX_FIELDS = MAX_ITEMS + 100
"""Fields of a request that are counted; a valid request has fewer than 100 beside its items."""


def parser(message: type[Message]) -> Callable[[bytes], Message]:
    """Make a function that parses messages of this class, and raises InvalidArgument.

    It is not given to gRPC as a deserializer: an error in one reaches the client as INTERNAL,
    and one runs before the call is authorized. Unknown fields are dropped.
    """

    def parse(data: bytes) -> Message:
        if len(data) > COUNTED:
            _refuse_many(message.DESCRIPTOR, data)
        try:
            request = message.FromString(data)
        except DecodeError:
            raise InvalidArgument([_violation(message.DESCRIPTOR, data)]) from None
        request.DiscardUnknownFields()
        return request

    return parse


def _refuse_many(descriptor: Any, data: bytes) -> None:
    """Raise InvalidArgument for a batch of more items than any valid one has.

    It counts them in the encoded bytes: an empty item takes two bytes there, a hundred if parsed.
    """
    fields = Counter(islice(_field_numbers(data), MAX_FIELDS))
    number, items = fields.most_common(1)[0]
    if items > MAX_ITEMS:
        known = descriptor.fields_by_number.get(number)
        field = known.name if known else "request"
        raise InvalidArgument([Violation(field, f"must not hold more than {MAX_ITEMS:,} items")])


def _field_numbers(data: bytes) -> Iterator[int]:
    """Read the field numbers of a message, up to where it is malformed."""
    at = 0
    with suppress(IndexError):
        while at < len(data):
            tag, at = _varint(data, at)
            yield tag >> 3
            match tag & 7:
                case 0:
                    _, at = _varint(data, at)
                case 1:
                    at += 8
                case 2:
                    size, at = _varint(data, at)
                    at += size
                case 5:
                    at += 4
                case _:
                    return


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a varint; return it and the index of the byte after it."""
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
    return value | data[at] << shift, at + 1


def _violation(descriptor: Any, data: bytes) -> Violation:
    try:
        lenient = _bytes_twin(descriptor).FromString(data)
    except DecodeError:
        return Violation("request", f"is not a valid {descriptor.full_name} message")
    field = next(_not_utf8(lenient), "request")
    return Violation(field, "must be valid UTF-8")


def _not_utf8(message: Message, prefix: str = "") -> Iterator[str]:
    """Find the byte strings that are not UTF-8, as paths such as `contracts[3].name`."""
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
    """Make the same message class with bytes in place of strings, which parses any text."""
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
