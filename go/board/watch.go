package board

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Watch delivers the events of a board as they happen: each once, in the order of
// their revisions. Its events come on a channel, for select.
type Watch struct {
	client    *calls
	request   *boardv1.WatchRequest // of the next stream, which resumes where the last one ended
	snapshots bool
	pending   *Snapshot // delivered before the events of the next stream; nil if there is none

	events   chan Event
	started  chan struct{} // closed by the first message
	revision atomic.Int64
	ctx      context.Context
	end      context.CancelCauseFunc
}

// WatchOption is an option of Watch: what it delivers, and from which revision on.
// The zero WatchOption sets nothing.
type WatchOption struct{ apply func(*Watch) error }

// AfterRevision delivers the events after this revision, instead of those from now
// on. If the board no longer keeps them all, the watch ends with
// ErrRevisionCompacted.
func AfterRevision(revision int64) WatchOption {
	return WatchOption{func(w *Watch) error {
		w.request.AfterRevision = &revision
		return nil
	}}
}

// OfBoard requires the board to have this ID, because revisions of another board of
// the same name mean nothing. Otherwise the watch ends with ErrBoardReplaced.
func OfBoard(boardID string) WatchOption {
	return WatchOption{func(w *Watch) error {
		w.request.BoardId = boardID
		return nil
	}}
}

// Kinds delivers only events of these kinds, each one of EventPhase,
// EventContract, EventClaim and EventSession.
func Kinds(kinds ...string) WatchOption {
	return WatchOption{func(w *Watch) error {
		for _, kind := range kinds {
			number, err := eventKinds.required("kinds", kind)
			if err != nil {
				return err
			}
			w.request.Kinds = append(w.request.Kinds, number)
		}
		return nil
	}}
}

// FromSnapshot delivers the whole board first, as an event with a Snapshot, and
// then the events after it. If the board no longer keeps the events that the watch
// missed, it delivers another snapshot, which replaces all before it. With
// AfterRevision, it delivers only such later snapshots.
func FromSnapshot() WatchOption {
	return WatchOption{func(w *Watch) error {
		w.snapshots = true
		return nil
	}}
}

// Watch watches the board until ctx ends. It delivers everything that happens after
// the call. It resumes without a gap or a repeat if the server was unavailable or
// the events were not received fast enough. The client's timeout bounds the call, not
// the watch.
//
//	watch, err := b.Watch(ctx, board.Kinds(board.EventPhase))
//	if err != nil {
//		return err
//	}
//	for event := range watch.Events() {
//		fmt.Println(event.Phase.PhaseID, event.Phase.State, event.Cause)
//	}
//	return watch.Err()
func (c *calls) Watch(ctx context.Context, opts ...WatchOption) (*Watch, error) {
	w := &Watch{
		client:  c,
		request: &boardv1.WatchRequest{Board: c.board},
		events:  make(chan Event),
		started: make(chan struct{}),
	}
	for _, opt := range opts {
		if opt.apply == nil {
			continue
		}
		if err := opt.apply(w); err != nil {
			return nil, err
		}
	}
	w.ctx, w.end = context.WithCancelCause(ctx)
	go w.follow()
	var late <-chan time.Time
	if c.timeout > 0 {
		late = time.After(c.timeout)
	}
	select {
	case <-w.started:
		return w, nil
	case <-late:
		silence := status.Error(codes.DeadlineExceeded, fmt.Sprintf("no answer within %v", c.timeout))
		w.end(watchError{c.failure(ctx, w.request, silence)})
	case <-w.ctx.Done():
	}
	for range w.events { // wait until it is closed, so that no goroutine is left
	}
	return nil, w.Err()
}

// Events returns the channel of the events, which is closed when the watch has
// ended. To stop receiving, end the watch's context.
func (w *Watch) Events() <-chan Event { return w.events }

// Err returns why the watch has ended, nil while it continues: the error of its
// context, with its cause if it has one, or an error after which the watch cannot
// resume, such as ErrRevisionCompacted and ErrBoardReplaced. With FromSnapshot it
// resumes after those two.
func (w *Watch) Err() error {
	cause := context.Cause(w.ctx)
	var own watchError
	switch {
	case errors.As(cause, &own):
		return own.error
	case cause != nil && !errors.Is(cause, w.ctx.Err()):
		return fmt.Errorf("%w: %w", w.ctx.Err(), cause)
	}
	return cause
}

// watchError is an error that ended the watch, as the cause of the end of its
// context.
type watchError struct{ error }

// Revision returns the revision up to which every event has been received. Another
// watch can resume after it.
func (w *Watch) Revision() int64 { return w.revision.Load() }

// follow delivers the events of one stream after the other.
func (w *Watch) follow() {
	defer close(w.events)
	var between pauses
	for attempt := 1; ; attempt++ {
		before := w.request.AfterRevision
		err := w.stream()
		if w.request.AfterRevision != before { // the stream had a message
			between = pauses{}
		}
		switch {
		case errors.Is(err, ErrUnavailable) && (w.hasStarted() || attempt < maxAttempts), errors.Is(err, ErrWatchTooSlow):
		case errors.Is(err, context.DeadlineExceeded) && w.hasStarted(): // while reading a snapshot
		case w.snapshots && (errors.Is(err, ErrRevisionCompacted) || errors.Is(err, ErrBoardReplaced)):
			w.request.AfterRevision = nil
		default:
			w.end(watchError{err})
			return
		}
		if !between.wait(w.ctx) {
			return
		}
	}
}

// stream delivers the events of one stream, and returns why the stream ended.
func (w *Watch) stream() error {
	if w.snapshots && w.request.AfterRevision == nil {
		s, err := w.client.Snapshot(w.ctx)
		if err != nil {
			return err
		}
		w.pending, w.request.AfterRevision, w.request.BoardId = s, &s.Revision, s.BoardID
	}
	stream, err := w.client.stub.Watch(w.ctx, w.request)
	if err != nil {
		return w.client.failure(w.ctx, w.request, err)
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return w.client.failure(w.ctx, w.request, err)
		}
		if err := w.handle(response); err != nil {
			return err
		}
	}
}

// handle delivers the events of a message, and then advances to its revision.
func (w *Watch) handle(response *boardv1.WatchResponse) error {
	if !w.hasStarted() {
		close(w.started)
	}
	if s := w.pending; s != nil {
		if err := w.deliver(Event{Revision: s.Revision, Change: ChangeSnapshot, Snapshot: s}); err != nil {
			return err
		}
		w.pending = nil
	}
	for _, message := range response.GetEvents() {
		if err := w.deliver(event(message)); err != nil {
			return err
		}
	}
	if id := response.GetBoardId(); id != "" {
		w.request.BoardId = id
	}
	w.request.AfterRevision = &response.Revision
	w.revision.Store(response.Revision)
	return nil
}

// hasStarted reports whether the watch has received a message.
func (w *Watch) hasStarted() bool {
	select {
	case <-w.started:
		return true
	default:
		return false
	}
}

func (w *Watch) deliver(e Event) error {
	select {
	case w.events <- e:
		return nil
	case <-w.ctx.Done():
		return w.Err()
	}
}
