package board

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Errors of the board, for errors.Is.
var (
	// ErrFileAlreadyClaimed: another phase has the file. Wait until it is released,
	// or do other work. The error is a [*FileAlreadyClaimedError].
	ErrFileAlreadyClaimed = errors.New("file already claimed by another phase")

	// ErrInvalidArgument: a field breaks its limits, and nothing was changed.
	// Metadata["field"] names it.
	ErrInvalidArgument = errors.New("invalid argument")

	// ErrBoardNotFound: there is no board of that name. Call OpenBoard, or correct
	// the name.
	ErrBoardNotFound = errors.New("board not found")

	// ErrStateMismatch: the phase is not in the state given to IfState, or exists
	// despite IfAbsent. Metadata has "phase_id", "expected" and "actual". Read the
	// phase again.
	ErrStateMismatch = errors.New("phase is not in the expected state")

	// ErrRevisionMismatch: the board has changed since the revision given to
	// ArchiveBoard. Metadata has "expected" and "actual".
	ErrRevisionMismatch = errors.New("board is not at the expected revision")

	// ErrSessionExpired: the session has ended, and nothing was changed. Drop
	// the work: another worker may have it.
	ErrSessionExpired = errors.New("session has ended")

	// ErrRevisionCompacted: the board no longer keeps that revision. Take a
	// snapshot, and watch from its revision.
	ErrRevisionCompacted = errors.New("revision is no longer kept")

	// ErrBoardReplaced: the board is another of the same name. Take a snapshot.
	ErrBoardReplaced = errors.New("board was replaced")

	// ErrWatchTooSlow: a watch fell too far behind. Metadata["last_revision"]
	// is the revision to resume from.
	ErrWatchTooSlow = errors.New("watch is too slow")

	// ErrUnavailable: the board cannot be reached, or cannot serve now, and all
	// retries failed.
	ErrUnavailable = errors.New("board unavailable")

	// ErrStoreFull: the server's disk is full. A person must make room.
	ErrStoreFull = errors.New("board store full")

	// ErrBadCredentials: a file of credentials cannot be used, a token would be
	// sent unencrypted, or client and server do not trust each other. A retry
	// does not help.
	ErrBadCredentials = errors.New("bad credentials")

	// ErrUnauthenticated: the server requires a token, and does not know the call's.
	// Ask its operator for one.
	ErrUnauthenticated = errors.New("board requires a valid token")

	// ErrPermissionDenied: the token may not do this. Ask the server's operator.
	ErrPermissionDenied = errors.New("permission denied by the board")

	// ErrLimitExceeded: there are too many calls, watches or the like at once.
	// Metadata has "limit" and "maximum". End some of them, or try again later.
	ErrLimitExceeded = errors.New("limit of the board exceeded")

	// ErrInternal: the server failed. Its log has Metadata["error_id"].
	ErrInternal = errors.New("internal error of the board")

	// ErrClosed: the client was closed before or during the call.
	ErrClosed = errors.New("board client is closed")
)

// byReason maps the reasons of the board's errors to the errors above.
var byReason = map[string]error{
	"INVALID_ARGUMENT":     ErrInvalidArgument,
	"BOARD_NOT_FOUND":      ErrBoardNotFound,
	"FILE_ALREADY_CLAIMED": ErrFileAlreadyClaimed,
	"STATE_MISMATCH":       ErrStateMismatch,
	"REVISION_MISMATCH":    ErrRevisionMismatch,
	"SESSION_EXPIRED":      ErrSessionExpired,
	"REVISION_COMPACTED":   ErrRevisionCompacted,
	"BOARD_REPLACED":       ErrBoardReplaced,
	"WATCH_TOO_SLOW":       ErrWatchTooSlow,
	"STORE_UNAVAILABLE":    ErrUnavailable,
	"SHUTTING_DOWN":        ErrUnavailable,
	"STORE_FULL":           ErrStoreFull,
	"UNAUTHENTICATED":      ErrUnauthenticated,
	"PERMISSION_DENIED":    ErrPermissionDenied,
	"LIMIT_EXCEEDED":       ErrLimitExceeded,
	"INTERNAL":             ErrInternal,
}

const errorDomain = "board.v1"

// Error is the error of a call that failed. Use errors.As to get it, and errors.Is
// to compare it with the errors of this package, context.Canceled and
// context.DeadlineExceeded.
type Error struct {
	Code     codes.Code        // gRPC's status code
	Reason   string            // the board's ErrorReason without its prefix; "" if the board sent none
	Metadata map[string]string // details of the reason, by name
	Message  string            // for people

	kinds []error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Int returns the number under a key of Metadata, such as "expected" and "actual"
// of [ErrRevisionMismatch], "oldest_revision" of [ErrRevisionCompacted],
// "last_revision" of [ErrWatchTooSlow] and "maximum" of [ErrLimitExceeded]. It
// returns 0 if there is none.
func (e *Error) Int(key string) int64 {
	number, err := strconv.ParseInt(e.Metadata[key], 10, 64)
	if err != nil {
		return 0
	}
	return number
}

// Unwrap returns the errors that errors.Is compares with.
func (e *Error) Unwrap() []error { return e.kinds }

// GRPCStatus returns the error as a status, for status.FromError and status.Code.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// FileAlreadyClaimedError is the error of a claim of a file that another phase has.
// It is ErrFileAlreadyClaimed for errors.Is.
type FileAlreadyClaimedError struct {
	Filepath string // as it was given
	Owner    string // ID of the phase that has the file

	// Conflicts has every file of the call that other phases have, the one above
	// first. If there are very many, it has only those that fit in the reply.
	Conflicts []Conflict

	cause *Error
}

// Conflict is a file that another phase has.
type Conflict struct {
	Filepath string // as it was given
	Owner    string // ID of the phase that has it
}

// Error returns the text that quasar prints.
func (e *FileAlreadyClaimedError) Error() string {
	return fmt.Sprintf(`%v: "%s" owned by "%s"`, ErrFileAlreadyClaimed, e.Filepath, e.Owner)
}

// Unwrap returns ErrFileAlreadyClaimed, and the *Error if the board sent one.
func (e *FileAlreadyClaimedError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrFileAlreadyClaimed}
	}
	return []error{ErrFileAlreadyClaimed, e.cause}
}

// invalidArgument refuses a value before it is sent.
func invalidArgument(field, description string) error {
	return &Error{
		Code:     codes.InvalidArgument,
		Reason:   "INVALID_ARGUMENT",
		Metadata: map[string]string{"field": field},
		Message:  field + ": " + description,
		kinds:    []error{ErrInvalidArgument},
	}
}

// badCredentials refuses to connect. The errors that the format wraps with %w can
// be found by errors.Is too.
func badCredentials(format string, args ...any) error {
	why := fmt.Errorf(format, args...)
	return &Error{Code: codes.Unauthenticated, Message: why.Error(), kinds: []error{ErrBadCredentials, why}}
}

// fromBoard converts a status with the board's ErrorInfo to an error; ok is false
// if the status has none.
func fromBoard(s *status.Status) (err error, ok bool) {
	for _, detail := range s.Details() {
		info, is := detail.(*errdetails.ErrorInfo)
		if !is || info.GetDomain() != errorDomain {
			continue
		}
		e := &Error{Code: s.Code(), Reason: info.GetReason(), Metadata: info.GetMetadata(), Message: s.Message()}
		if kind := byReason[e.Reason]; kind != nil {
			e.kinds = []error{kind}
		}
		if e.Reason == "FILE_ALREADY_CLAIMED" {
			return &FileAlreadyClaimedError{e.Metadata["filepath"], e.Metadata["owner"], conflicts(s), e}, true
		}
		return e, true
	}
	return nil, false
}

func conflicts(s *status.Status) []Conflict {
	var all []Conflict
	for _, detail := range s.Details() {
		if c, is := detail.(*boardv1.FileClaimConflict); is {
			all = append(all, Conflict{c.GetFilepath(), c.GetOwner()})
		}
	}
	return all
}

// failure converts the error of a call. ctx is the context that the caller gave.
func (c *calls) failure(ctx context.Context, request proto.Message, err error) error {
	s := status.Convert(err)
	if e, ok := fromBoard(s); ok {
		return e
	}
	e := &Error{Code: s.Code(), Message: fmt.Sprintf("the board at %s: %v: %s", c.target, s.Code(), s.Message())}
	gone := e.Code == codes.Unavailable || e.Code == codes.Canceled // by a server that stops
	away := fmt.Sprintf("no board answers at %s (%s); is it running? `board serve` starts one", c.target, s.Message())
	switch {
	case errors.Is(ctx.Err(), context.Canceled): // whatever the code is
		e.kinds = []error{context.Canceled}
	case c.closed():
		e.Message, e.kinds = ErrClosed.Error(), []error{ErrClosed}
	case e.Code == codes.DeadlineExceeded && c.unreachable(),
		gone && ctx.Err() != nil: // the deadline passed before the next attempt
		e.Message, e.kinds = away, []error{ErrUnavailable, context.DeadlineExceeded}
	case e.Code == codes.DeadlineExceeded:
		e.kinds = []error{context.DeadlineExceeded}
	case e.Code == codes.Canceled:
		e.kinds = []error{ErrUnavailable}
	case e.Code == codes.Unavailable:
		e.Message, e.kinds = away, []error{ErrUnavailable}
	case e.Code == codes.Internal:
		if field := invalidUTF8(request); field != "" {
			return invalidArgument(field, "is not valid UTF-8")
		}
	}
	return e
}

// invalidUTF8 returns the first field that is not valid UTF-8, which gRPC cannot
// encode, such as `contracts[3].name`; "" if there is none.
func invalidUTF8(request proto.Message) (field string) {
	_ = protorange.Range(request.ProtoReflect(), func(p protopath.Values) error {
		text, ok := p.Index(-1).Value.Interface().(string)
		if !ok || utf8.ValidString(text) {
			return nil
		}
		field = strings.TrimPrefix(p.Path[1:].String(), ".")
		return protorange.Terminate
	})
	return field
}
