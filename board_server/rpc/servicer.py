"""The service: one method per RPC, which reads the request, awaits the store, writes the reply."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceServicer
from board_server.call_context import CURRENT, Holding
from board_server.model import ContractFilter, IdempotencyKey
from board_server.store import Store
from board_server.watch.cache_pool import CachePool
from board_server.watch.hub import Hubs
from board_server.watch.waiters import weight_of
from board_server.wire import lists, requests, responses

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


class BoardServicer(BoardServiceServicer):
    """The service over a store. A request that names no board is for the default board."""

    def __init__(self, store: Store, hubs: Hubs, caches: CachePool, default_board: str) -> None:
        self._store = store
        self._hubs = hubs
        self._caches = caches
        self._default_board = default_board

    def _named(self, board: str) -> str:
        return board or self._default_board

    def _not_default(self, board: str) -> str:
        """Return a board's name, "" for the default board, which stays open anyway."""
        return "" if board == self._default_board else board

    async def OpenBoard(
        self, request: pb.OpenBoardRequest, context: Context
    ) -> pb.OpenBoardResponse:
        board = requests.board(request)
        info = await self._store.open_board(self._named(board))
        return pb.OpenBoardResponse(board=responses.board(info))

    async def ListBoards(
        self, request: pb.ListBoardsRequest, context: Context
    ) -> pb.ListBoardsResponse:
        listed = lists.list_boards(request)
        call = CURRENT.get()
        among = call.principal.boards if call and call.principal else None
        page = await self._store.list_boards(listed.page, among)
        return pb.ListBoardsResponse(
            boards=map(responses.board, page.items),
            next_page_token=listed.token(page.next),
        )

    async def SetPhaseState(
        self, request: pb.SetPhaseStateRequest, context: Context
    ) -> pb.SetPhaseStateResponse:
        board, change = requests.set_phase_state(request)
        phase, revision = await self._store.set_phase_state(
            self._named(board), change, await _key(context)
        )
        return pb.SetPhaseStateResponse(phase=responses.phase(phase), revision=revision)

    async def GetPhaseState(
        self, request: pb.GetPhaseStateRequest, context: Context
    ) -> pb.GetPhaseStateResponse:
        board, phase_id = requests.get_phase_state(request)
        phase = await self._store.get_phase_state(self._named(board), phase_id)
        return pb.GetPhaseStateResponse(phase=responses.phase(phase) if phase else None)

    async def ListPhases(  # type: ignore[override]  # encoded in parts
        self, request: pb.ListPhasesRequest, context: Context
    ) -> bytes:
        listed, states = lists.list_phases(request)
        page = await self._store.list_phases(self._named(listed.board), states, listed.page)
        end = pb.ListPhasesResponse(next_page_token=listed.token(page.next), revision=page.revision)
        return await _encoded(
            page.items, lambda some: pb.ListPhasesResponse(phases=map(responses.phase, some)), end
        )

    async def PublishContract(
        self, request: pb.PublishContractRequest, context: Context
    ) -> pb.PublishContractResponse:
        board, draft, session_id = requests.publish_contract(request)
        contract, revision = await self._store.publish_contract(
            self._named(board), draft, session_id, await _key(context)
        )
        return pb.PublishContractResponse(contract=responses.contract(contract), revision=revision)

    async def PublishContracts(
        self, request: pb.PublishContractsRequest, context: Context
    ) -> pb.PublishContractsResponse:
        board, drafts, session_id = requests.publish_contracts(request)
        published, revision = await self._store.publish_contracts(
            self._named(board), drafts, session_id, await _key(context)
        )
        return pb.PublishContractsResponse(published=published, revision=revision)

    async def ListContracts(  # type: ignore[override]  # the cache has encoded replies
        self, request: pb.ListContractsRequest, context: Context
    ) -> bytes:
        listed, where = lists.list_contracts(request)
        board = self._named(listed.board)
        if where == ContractFilter():
            cached = await self._caches.list_contracts(board, listed)
            if cached is not None:
                return cached
        page = await self._store.list_contracts(board, where, listed.page)
        end = pb.ListContractsResponse(
            next_page_token=listed.token(page.next), revision=page.revision
        )
        return await _encoded(
            page.items,
            lambda some: pb.ListContractsResponse(contracts=map(responses.contract, some)),
            end,
        )

    async def ClaimFile(
        self, request: pb.ClaimFileRequest, context: Context
    ) -> pb.ClaimFileResponse:
        board, filepath, owner, session_id = requests.claim_file(request)
        claim, revision = await self._store.claim_file(
            self._named(board), filepath, owner, session_id, await _key(context)
        )
        return pb.ClaimFileResponse(claim=responses.claim(claim), revision=revision)

    async def ClaimFiles(
        self, request: pb.ClaimFilesRequest, context: Context
    ) -> pb.ClaimFilesResponse:
        board, filepaths, owner, session_id = requests.claim_files(request)
        claims, revision = await self._store.claim_files(
            self._named(board), filepaths, owner, session_id, await _key(context)
        )
        return pb.ClaimFilesResponse(claims=map(responses.claim, claims), revision=revision)

    async def ReleaseClaims(
        self, request: pb.ReleaseClaimsRequest, context: Context
    ) -> pb.ReleaseClaimsResponse:
        board, owner, filepaths = requests.release_claims(request)
        released, revision = await self._store.release_claims(
            self._named(board), owner, filepaths, await _key(context)
        )
        return pb.ReleaseClaimsResponse(released=released, revision=revision)

    async def GetFileOwner(
        self, request: pb.GetFileOwnerRequest, context: Context
    ) -> pb.GetFileOwnerResponse:
        board, filepath = requests.get_file_owner(request)
        owner = await self._store.get_file_owner(self._named(board), filepath)
        return pb.GetFileOwnerResponse(owner=owner)

    async def ListClaims(  # type: ignore[override]  # encoded in parts
        self, request: pb.ListClaimsRequest, context: Context
    ) -> bytes:
        listed, owner = lists.list_claims(request)
        page = await self._store.list_claims(self._named(listed.board), owner, listed.page)
        end = pb.ListClaimsResponse(next_page_token=listed.token(page.next), revision=page.revision)
        return await _encoded(
            page.items, lambda some: pb.ListClaimsResponse(claims=map(responses.claim, some)), end
        )

    async def CompletePhase(
        self, request: pb.CompletePhaseRequest, context: Context
    ) -> pb.CompletePhaseResponse:
        board, completion = requests.complete_phase(request)
        done, revision = await self._store.complete_phase(
            self._named(board), completion, await _key(context)
        )
        return pb.CompletePhaseResponse(
            phase=responses.phase(done.phase),
            published=done.published,
            released=done.released,
            revision=revision,
        )

    async def GetSnapshot(  # type: ignore[override]  # grpc takes a coroutine that writes, too
        self, request: pb.GetSnapshotRequest, context: Context
    ) -> None:
        board = self._named(requests.board(request))
        holding = _holding()
        room = await self._caches.size(board)
        await holding.room(room)  # before the snapshot is made
        snapshot = await self._caches.snapshot(board) or await self._caches.stored(board)
        holding.resize(room, snapshot.size)
        for part in snapshot.parts:
            await context.write(part + snapshot.head)

    async def Watch(  # type: ignore[override]  # as above
        self, request: pb.WatchRequest, context: Context
    ) -> None:
        watched = requests.watch(request)
        hub = await self._hubs.of(self._named(watched.board))
        await hub.watch(watched, context.write, _holding())

    async def WaitFor(self, request: pb.WaitForRequest, context: Context) -> pb.WaitForResponse:
        board, conditions = requests.wait_for(request)
        _holding().hold(weight_of(conditions))
        hub = await self._hubs.of(self._named(board))
        evidence, revision = await hub.wait_for(conditions)
        return responses.met(revision, evidence)

    async def OpenSession(
        self, request: pb.OpenSessionRequest, context: Context
    ) -> pb.OpenSessionResponse:
        board, worker, ttl, on_expiry = requests.open_session(request)
        name = self._named(board)
        key = await _key(context)
        hub = await self._hubs.of(name)  # it ends when its board is closed
        over = _holding().session(self._not_default(name))
        session, revision = await hub.open_session(
            self._store.open_session(name, worker, ttl, on_expiry, key), over
        )
        return pb.OpenSessionResponse(session=responses.session(session), revision=revision)

    async def RenewSession(
        self, request: pb.RenewSessionRequest, context: Context
    ) -> pb.RenewSessionResponse:
        board, session_id = requests.session(request)
        name = self._named(board)
        hub = await self._hubs.of(name)
        session, revision = await self._store.renew_session(name, session_id)
        count = partial(_holding().session, self._not_default(name), new=False)
        hub.session_renewed(session_id, count)
        return pb.RenewSessionResponse(session=responses.session(session), revision=revision)

    async def CloseSession(
        self, request: pb.CloseSessionRequest, context: Context
    ) -> pb.CloseSessionResponse:
        board, session_id = requests.session(request)
        released, revision = await self._store.close_session(
            self._named(board), session_id, await _key(context)
        )
        return pb.CloseSessionResponse(released=released, revision=revision)

    async def ListSessions(  # type: ignore[override]  # encoded in parts
        self, request: pb.ListSessionsRequest, context: Context
    ) -> bytes:
        listed = lists.list_sessions(request)
        page = await self._store.list_sessions(self._named(listed.board), listed.page)
        end = pb.ListSessionsResponse(
            next_page_token=listed.token(page.next), revision=page.revision
        )
        return await _encoded(
            page.items,
            lambda some: pb.ListSessionsResponse(sessions=map(responses.session, some)),
            end,
        )

    async def ArchiveBoard(
        self, request: pb.ArchiveBoardRequest, context: Context
    ) -> pb.ArchiveBoardResponse:
        board, at, board_id = requests.archive_board(request)
        archived, revision = await self._store.archive_board(
            self._named(board), at, board_id, await _key(context)
        )
        return pb.ArchiveBoardResponse(
            phases=archived.phases,
            contracts=archived.contracts,
            claims=archived.claims,
            revision=revision,
        )


def _holding() -> Holding:
    """Return the Holding of the current call, which counts the memory that it uses."""
    call = CURRENT.get()
    assert call
    return call.holding


LARGE = 2**18
"""Bytes of the smallest request that is hashed in a thread: hashing takes some milliseconds."""


async def _key(context: Context) -> IdempotencyKey | None:
    """Read a call's idempotency key, None if it has none. Raises InvalidArgument.

    Each principal has its own keys, so none gets the reply to another's call. A key identifies
    the whole request, including its session, so an outcome is valid only for that session.
    """
    given = requests.request_id(context.invocation_metadata())
    call = CURRENT.get()
    if call is None or not given:
        return None
    large = len(call.data) >= LARGE
    payload = await asyncio.to_thread(_digest, call.data) if large else _digest(call.data)
    return IdempotencyKey(f"{call.principal.name}:{given}", call.method, payload)


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


ENCODED_AT_ONCE = 200
"""Records that are encoded before other tasks may run: half a millisecond or so."""


async def _encoded(
    items: Sequence[T], encode: Callable[[Sequence[T]], Message], end: Message
) -> bytes:
    """Encode a list's reply in parts, so that it does not block the event loop."""
    parts = []
    for start in range(0, len(items), ENCODED_AT_ONCE):
        parts.append(encode(items[start : start + ENCODED_AT_ONCE]).SerializeToString())
        if start + ENCODED_AT_ONCE < len(items):
            await asyncio.sleep(0)
    return b"".join((*parts, end.SerializeToString()))
