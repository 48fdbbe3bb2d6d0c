package board

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// What happens to a session's running phases when it ends.
const (
	OnExpiryFail    = "fail"    // they become StateFailed, and keep the worker's name
	OnExpiryRequeue = "requeue" // they become StateQueued, without a worker
)

// DefaultTTL is the ttl of a session without the option WithTTL.
const DefaultTTL = 30 * time.Second

// SessionInfo describes a session. A session that is renewed shows that its worker
// is alive.
type SessionInfo struct {
	SessionID string
	Worker    string
	TTL       time.Duration // time from a renewal to its expiry
	ExpiresAt time.Time     // when it expires unless it is renewed, by the server's clock, UTC
	OnExpiry  string        // one of the OnExpiry constants
}

// Session is a client whose calls belong to a session, which it renews. Phases
// that it sets to StateRunning and files that it claims are bound to the session.
// When the session is closed, or expires because this process died or lost its
// connection, the board releases the files, and fails the phases that are still
// running or queues them again.
type Session struct {
	calls

	ttl    time.Duration
	lost   chan struct{}
	err    error // why the session is lost; valid once lost is closed
	end    context.CancelFunc
	ended  chan struct{}
	failed error // the error of closing it; valid once ended is closed
	index  int   // index of the connection that carried the last renewal
}

// SessionOption is an option of Session. The zero SessionOption sets nothing.
type SessionOption struct {
	apply func(*boardv1.OpenSessionRequest) error
}

// WithTTL sets the time from the last renewal to the session's expiry, 1 s to 24 h.
func WithTTL(ttl time.Duration) SessionOption {
	return SessionOption{func(r *boardv1.OpenSessionRequest) error {
		r.Ttl = durationpb.New(ttl)
		return nil
	}}
}

// WithOnExpiry sets what happens to the session's running phases when it ends:
// OnExpiryFail, the default, or OnExpiryRequeue.
func WithOnExpiry(onExpiry string) SessionOption {
	return SessionOption{func(r *boardv1.OpenSessionRequest) (err error) {
		r.OnExpiry, err = expiries.required("on_expiry", onExpiry)
		return err
	}}
}

// Session opens a session for the worker, and renews it until Close, or until
// ctx ends, which closes it too.
//
//	session, err := b.Session(ctx, "worker-1")
//	if err != nil {
//		return err
//	}
//	defer session.Close()
//	if err := session.SetPhaseState(ctx, "board-store", board.StateRunning); err != nil {
//		return err
//	}
//	// work, and stop when session.Lost() is closed
//	_, err = session.CompletePhase(ctx, "board-store", board.StateDone, contracts)
func (c *calls) Session(ctx context.Context, worker string, opts ...SessionOption) (*Session, error) {
	request := &boardv1.OpenSessionRequest{Board: c.board, Worker: worker, Ttl: durationpb.New(DefaultTTL)}
	for _, opt := range opts {
		if opt.apply == nil {
			continue
		}
		if err := opt.apply(request); err != nil {
			return nil, err
		}
	}
	sent := time.Now()
	response, err := call(ctx, c, c.stub.OpenSession, request)
	if err != nil {
		return nil, err
	}
	opened := sessionInfo(response.GetSession())
	s := &Session{
		calls: c.inSession(opened.SessionID),
		ttl:   opened.TTL,
		lost:  make(chan struct{}),
		ended: make(chan struct{}),
	}
	if time.Since(sent) > s.ttl/3 { // an attempt later than the first may have opened it
		sent = time.Now()
		if err := s.renew(ctx); err != nil {
			return nil, err
		}
	}
	renewing, end := context.WithCancel(ctx)
	s.end = end
	go s.renewAndClose(ctx, renewing, newLease(s.ttl, sent))
	return s, nil
}

// InSession returns a client whose calls belong to a session that another client
// opened and renews. It uses the same connection.
func (c *calls) InSession(sessionID string) *Client {
	return &Client{c.inSession(sessionID)}
}

func (c *calls) inSession(sessionID string) calls {
	other := *c
	other.sessionID = sessionID
	return other
}

// ID returns the session's ID, for InSession.
func (s *Session) ID() string { return s.sessionID }

// Lost returns a channel that is closed when the session has ended on the board
// without Close, can no longer be renewed, or may have expired by this machine's
// clock: one ttl after the last answered renewal was sent. Drop its work then:
// another worker may have it.
func (s *Session) Lost() <-chan struct{} { return s.lost }

// Err returns why the session is lost, nil before it is: [ErrSessionExpired],
// [ErrUnauthenticated] and the like.
func (s *Session) Err() error {
	select {
	case <-s.lost:
		return s.err
	default:
		return nil
	}
}

// Close ends the session on the board, which releases its files, and fails its
// running phases or queues them again: complete the phases first. The connection
// stays open. If Close returns an error, the session may still be open; it expires
// within its ttl. Close may be repeated, and returns the same error.
func (s *Session) Close() error {
	s.end()
	<-s.ended
	return s.failed
}

// renewAndClose renews the session until renewing ends, and then closes it. If the
// session is lost, or the caller's ctx has ended, closing takes no longer than
// hurriedClose.
func (s *Session) renewAndClose(ctx, renewing context.Context, l *lease) {
	defer close(s.ended)
	defer s.end()
	s.err = s.renewUntil(renewing, l)
	timeout := min(s.ttl, DefaultTimeout)
	if s.err != nil {
		close(s.lost)
		<-renewing.Done()
	}
	if s.err != nil || ctx.Err() != nil {
		timeout = min(timeout, hurriedClose)
	}
	s.failed = s.close(context.WithoutCancel(ctx), timeout)
}

// renewed is the answer to a renewal.
type renewed struct {
	sent time.Time
	err  error
}

// renewUntil renews the session until ctx ends. It returns an error if the session
// is lost.
func (s *Session) renewUntil(ctx context.Context, l *lease) error {
	answers := make(chan renewed)
	for !l.lost() {
		if l.due() {
			s.sendRenewal(ctx, l, answers)
		}
		select {
		case <-ctx.Done():
			return nil
		case answer := <-answers:
			if err := l.take(answer.sent, answer.err); err != nil && ctx.Err() == nil {
				return err
			}
		case <-time.After(l.pause()):
		}
	}
	return unrenewed(s.sessionID, s.ttl)
}

// sendRenewal sends a renewal and does not wait for its answer. If the last one has
// no answer, it uses the other connection.
func (s *Session) sendRenewal(ctx context.Context, l *lease, answers chan<- renewed) {
	if l.unanswered {
		s.conns.switchFrom(s.index)
	}
	s.index = s.conns.index()
	waiting, cancel := context.WithDeadline(ctx, l.ends)
	sent := l.send()
	go func() {
		defer cancel()
		err := s.renew(waiting)
		select {
		case answers <- renewed{sent, err}:
		case <-waiting.Done(): // the session was closed, or is lost
		}
	}()
}

func (s *Session) renew(ctx context.Context) error {
	request := &boardv1.RenewSessionRequest{Board: s.board, SessionId: s.sessionID}
	_, err := call(ctx, &s.calls, s.stub.RenewSession, request)
	return err
}

func (s *Session) close(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.CloseSession(ctx, s.sessionID)
	if errors.Is(err, ErrSessionExpired) { // it has ended already
		return nil
	}
	return err
}

// CloseSession ends a session of any client, and returns how many claims that
// releases.
func (c *calls) CloseSession(ctx context.Context, sessionID string) (int, error) {
	response, err := call(ctx, c, c.stub.CloseSession, &boardv1.CloseSessionRequest{Board: c.board, SessionId: sessionID})
	return int(response.GetReleased()), err
}

// ListSessions returns the open sessions, in the byte order of their IDs.
func (c *calls) ListSessions(ctx context.Context) ([]SessionInfo, error) {
	request := &boardv1.ListSessionsRequest{Board: c.board}
	return pages(ctx, c, func(ctx context.Context, token string) ([]SessionInfo, string, error) {
		request.PageToken = token
		response, err := call(ctx, c, c.stub.ListSessions, request)
		return each(response.GetSessions(), sessionInfo), response.GetNextPageToken(), err
	})
}

func sessionInfo(s *boardv1.Session) SessionInfo {
	return SessionInfo{
		SessionID: s.GetSessionId(),
		Worker:    s.GetWorker(),
		TTL:       s.GetTtl().AsDuration(),
		ExpiresAt: s.GetExpiresAt().AsTime(),
		OnExpiry:  expiries.word(s.GetOnExpiry()),
	}
}
