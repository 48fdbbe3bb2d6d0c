"""Write replies: records, snapshots, and commits for watches."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from board_client.v1 import board_pb2 as pb
from board_server.model import (
    BoardInfo,
    Commit,
    Contract,
    Event,
    Evidence,
    FileClaim,
    Phase,
    Record,
    Session,
    Snapshot,
)
from board_server.wire import enums

MAX_PART = 900 * 2**10
"""Most bytes of a part of a snapshot; with its framing it stays under 1 MiB."""


def board(board: BoardInfo) -> pb.BoardInfo:
    """Write a BoardInfo."""
    return pb.BoardInfo(
        name=board.name,
        board_id=board.board_id,
        revision=board.revision,
        created_at=_timestamp(board.created_at),
    )


def phase(phase: Phase) -> pb.Phase:
    """Write a Phase."""
    return pb.Phase(
        phase_id=phase.phase_id,
        state=enums.STATE_NUMBERS[phase.state],
        worker=phase.worker,
        posted_at=_timestamp(phase.posted_at),
        updated_at=_timestamp(phase.updated_at),
        session_id=phase.session_id,
    )


def contract(contract: Contract) -> pb.Contract:
    """Write a Contract."""
    return pb.Contract(
        id=contract.id,
        producer=contract.producer,
        kind=enums.KIND_NUMBERS[contract.kind],
        name=contract.name,
        signature=contract.signature,
        package=contract.package,
        status=enums.STATUS_NUMBERS[contract.status],
        created_at=_timestamp(contract.created_at),
    )


def claim(claim: FileClaim) -> pb.FileClaim:
    """Write a FileClaim."""
    return pb.FileClaim(
        filepath=claim.filepath,
        owner=claim.owner,
        claimed_at=_timestamp(claim.claimed_at),
        session_id=claim.session_id,
    )


def session(session: Session) -> pb.Session:
    """Write a Session."""
    return pb.Session(
        session_id=session.session_id,
        worker=session.worker,
        ttl=_duration(session.ttl),
        expires_at=_timestamp(session.expires_at),
        on_expiry=enums.ON_EXPIRY_NUMBERS[session.on_expiry],
    )


def met(revision: int, evidence: Collection[Evidence]) -> pb.WaitForResponse:
    """Write WaitFor's reply."""
    return pb.WaitForResponse(
        revision=revision,
        phases=[phase(found) for found in evidence if isinstance(found, Phase)],
        contracts=[contract(found) for found in evidence if isinstance(found, Contract)],
    )


def snapshot_parts(snapshot: Snapshot) -> Iterator[pb.GetSnapshotResponse]:
    """Write a snapshot in parts, at least one; each has the revision."""
    part = _part(snapshot)
    size = 0
    records: Sequence[Record] = (
        *snapshot.phases,
        *snapshot.contracts,
        *snapshot.claims,
        *snapshot.sessions,
    )
    for record in records:
        written = _written(record)
        weight = written.ByteSize()
        if size and size + weight > MAX_PART:
            yield part
            part, size = _part(snapshot), 0
        size += weight
        match written:
            case pb.Phase():
                part.phases.append(written)
            case pb.Contract():
                part.contracts.append(written)
            case pb.FileClaim():
                part.claims.append(written)
            case pb.Session():
                part.sessions.append(written)
    yield part


def encoded_snapshot(snapshot: Snapshot) -> list[bytes]:
    """Write a snapshot as encoded GetSnapshotResponses."""
    return [part.SerializeToString() for part in snapshot_parts(snapshot)]


def _part(snapshot: Snapshot) -> pb.GetSnapshotResponse:
    return pb.GetSnapshotResponse(revision=snapshot.revision, board_id=snapshot.board_id)


def tag(message: type[Message], field: str) -> bytes:
    """Encode the tag of a message field."""
    return bytes([message.DESCRIPTOR.fields_by_name[field].number << 3 | 2])


def entry(record: Record) -> bytes:
    """Encode a record preceded by its length: a message field without its tag."""
    encoded = _written(record).SerializeToString()
    length = bytearray()
    left = len(encoded)
    while left >= 0x80:  # noqa: PLR2004  seven bits to a byte, the eighth says that more follow
        length.append(left & 0x7F | 0x80)
        left >>= 7
    length.append(left)
    return bytes(length) + encoded


def encoded_event(commit: Commit, event: Event) -> bytes:
    """Write an event of a commit as an encoded WatchResponse.

    Protobuf merges concatenated messages, so several of these make one message.
    """
    response = pb.WatchResponse()
    written = response.events.add(
        revision=commit.revision,
        time=_timestamp(commit.time),
        cause=enums.CAUSE_NUMBERS[event.cause],
    )
    # The value of a Change is the name of its field.
    getattr(written, event.change.value).CopyFrom(_written(event.record))
    return response.SerializeToString()


BESIDE = 100
"""Approximate bytes of an encoded event in addition to its texts."""


def weight(record: Record) -> int:
    """Return the approximate bytes of an encoded event of this record."""
    match record:
        case Phase():
            return BESIDE + len(record.phase_id) + len(record.worker)
        case Contract():
            texts = record.producer, record.name, record.signature, record.package
            return BESIDE + sum(map(len, texts))
        case FileClaim():
            return BESIDE + len(record.filepath) + len(record.owner)
        case Session():
            return BESIDE + len(record.worker)


def encoded_bookmark(revision: int, board_id: str = "") -> bytes:
    """Write a bookmark: an encoded WatchResponse without events."""
    return pb.WatchResponse(revision=revision, board_id=board_id).SerializeToString()


Written = pb.Phase | pb.Contract | pb.FileClaim | pb.Session


def _written(record: Record) -> Written:
    match record:
        case Phase():
            return phase(record)
        case Contract():
            return contract(record)
        case FileClaim():
            return claim(record)
        case Session():
            return session(record)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _timestamp(moment: datetime) -> Timestamp:
    since = moment - _EPOCH  # using its days and seconds is faster than dividing microseconds
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def _duration(span: timedelta) -> Duration:
    seconds, microseconds = divmod(span // _MICROSECOND, 1_000_000)
    return Duration(seconds=seconds, nanos=microseconds * 1000)
