package board

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// What becomes of a session's running phases when it ends.
const (
	OnExpiryFail    = "fail"    // they become StateFailed, and keep the worker's name
	OnExpiryRequeue = "requeue" // they become StateQueued, without a worker
)

// DefaultTTL is how long a session lives unrenewed where WithTTL does not say.
const DefaultTTL = 30 * time.Second

// SessionInfo tells about a session, a worker's sign of life.
type SessionInfo struct {
	SessionID string
	Worker    string
	TTL       time.Duration // how long it lives without being renewed
	ExpiresAt time.Time     // when it ends if it is not renewed, by the server's clock, UTC
	OnExpiry  string        // one of the OnExpiry constants
}

// Session is a client whose calls belong to a session, which it renews. Phases
// that it sets to StateRunning and files that it claims are bound to the
// session. When that ends, because it was closed, or because this process has
// died or lost touch, the board takes them back: the files become free, and the
// phases that are still running fail, or are queued again.
type Session struct {
	*Client

	ttl    time.Duration
	lost   chan struct{}
	end    context.CancelFunc
	ended  chan struct{}
	failed error // of the call that closed it; valid once ended is closed
}

// SessionOption says more about a session.
type SessionOption func(*boardv1.OpenSessionRequest) error

// WithTTL sets how long the session outlives its last sign of life, 1 s to 24 h.
func WithTTL(ttl time.Duration) SessionOption {
	return func(r *boardv1.OpenSessionRequest) error {
		r.Ttl = durationpb.New(ttl)
		return nil
	}
}

// WithOnExpiry sets what becomes of its running phases when the session ends:
// OnExpiryFail, which holds otherwise too, or OnExpiryRequeue.
func WithOnExpiry(onExpiry string) SessionOption {
	return func(r *boardv1.OpenSessionRequest) (err error) {
		r.OnExpiry, err = expiries.required("on_expiry", onExpiry)
		return err
	}
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
//	// work, and stop where <-session.Lost() says so
//	_, err = session.CompletePhase(ctx, "board-store", board.StateDone, contracts)
func (c *Client) Session(ctx context.Context, worker string, opts ...SessionOption) (*Session, error) {
	request := &boardv1.OpenSessionRequest{Board: c.board, Worker: worker, Ttl: durationpb.New(DefaultTTL)}
	for _, opt := range opts {
		if err := opt(request); err != nil {
			return nil, err
		}
	}
	response, err := call(ctx, c, c.stub.OpenSession, request)
	if err != nil {
		return nil, err
	}
	opened := sessionInfo(response.GetSession())
	s := &Session{
		Client: c.InSession(opened.SessionID),
		ttl:    opened.TTL,
		lost:   make(chan struct{}),
		ended:  make(chan struct{}),
	}
	ctx, s.end = context.WithCancel(ctx)
	go s.keep(ctx)
	return s, nil
}

// InSession returns a client whose calls belong to a session that someone else
// opened and renews. It shares this one's connection.
func (c *Client) InSession(sessionID string) *Client {
	other := *c
	other.sessionID = sessionID
	return &other
}

// ID returns the session's ID, for InSession.
func (s *Session) ID() string { return s.sessionID }

// Lost returns a channel that is closed should the session end on the board
// while it is held here. Its work was handed on: drop it. Calls in the session
// are ErrSessionExpired from then on.
func (s *Session) Lost() <-chan struct{} { return s.lost }

// Close ends the session on the board, and with it all that is still bound to
// it: complete the phases first. The connection stays open. An error says that
// the board was not told; then the session ends by itself within its ttl.
// Closing a session again tells the same.
func (s *Session) Close() error {
	s.end()
	<-s.ended
	return s.failed
}

// keep renews the session until ctx ends, and closes it then.
func (s *Session) keep(ctx context.Context) {
	defer close(s.ended)
	defer s.end()
	pause := s.ttl / 3 // two renewals may fail before the ttl is over
	for {
		select {
		case <-ctx.Done():
			s.failed = s.close(context.WithoutCancel(ctx))
			return
		case <-time.After(pause):
		}
		pause = s.ttl / 3
		switch err := s.renew(ctx); {
		case errors.Is(err, ErrSessionExpired):
			close(s.lost)
			return
		case errors.Is(err, ErrClosed):
			s.failed = err
			return
		case err != nil:
			pause = min(time.Second, s.ttl/10)
		}
	}
}

func (s *Session) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.ttl/3)
	defer cancel()
	request := &boardv1.RenewSessionRequest{Board: s.board, SessionId: s.sessionID}
	_, err := call(ctx, s.Client, s.stub.RenewSession, request)
	return err
}

func (s *Session) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(s.ttl, DefaultTimeout))
	defer cancel()
	_, err := s.CloseSession(ctx, s.sessionID)
	if errors.Is(err, ErrSessionExpired) { // it has ended, and that is what was wanted
		return nil
	}
	return err
}

// CloseSession ends a session, whoever holds it, and returns how many files that
// frees.
func (c *Client) CloseSession(ctx context.Context, sessionID string) (int, error) {
	response, err := call(ctx, c, c.stub.CloseSession, &boardv1.CloseSessionRequest{Board: c.board, SessionId: sessionID})
	return int(response.GetReleased()), err
}

// ListSessions returns the sessions that live, in the byte order of their IDs.
func (c *Client) ListSessions(ctx context.Context) ([]SessionInfo, error) {
	request := &boardv1.ListSessionsRequest{Board: c.board}
	return pages(func(token string) ([]SessionInfo, string, error) {
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
