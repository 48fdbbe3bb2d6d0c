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
	calls

	ttl    time.Duration
	lost   chan struct{}
	err    error // why it is lost; valid once lost is closed
	end    context.CancelFunc
	ended  chan struct{}
	failed error // of the call that closed it; valid once ended is closed
	index  int   // of the connection that the last renewal went by
}

// SessionOption is an option of Session. The zero SessionOption sets nothing.
type SessionOption struct {
	apply func(*boardv1.OpenSessionRequest) error
}

// WithTTL sets how long the session outlives its last sign of life, 1 s to 24 h.
func WithTTL(ttl time.Duration) SessionOption {
	return SessionOption{func(r *boardv1.OpenSessionRequest) error {
		r.Ttl = durationpb.New(ttl)
		return nil
	}}
}

// WithOnExpiry sets what becomes of its running phases when the session ends:
// OnExpiryFail, which holds otherwise too, or OnExpiryRequeue.
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
//	// work, and stop where <-session.Lost() says so
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
	if time.Since(sent) > s.ttl/3 { // which attempt opened it?
		sent = time.Now()
		if err := s.renew(ctx); err != nil {
			return nil, err
		}
	}
	held, end := context.WithCancel(ctx)
	s.end = end
	go s.keep(ctx, held, newLease(s.ttl, sent))
	return s, nil
}

// InSession returns a client whose calls belong to a session that someone else
// opened and renews. It shares this one's connection.
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

// Lost returns a channel that is closed once the session has ended on the board
// while it is held here, can no longer be renewed, or may have expired by this
// machine's clock: one ttl after the last answered renewal was sent. Its work
// may be another's then: drop it.
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

// Close ends the session on the board, and with it all that is still bound to
// it: complete the phases first. The connection stays open. An error says that
// the board was not told; then the session ends by itself within its ttl.
// Closing a session again tells the same.
func (s *Session) Close() error {
	s.end()
	<-s.ended
	return s.failed
}

// keep renews the session until held ends, and closes it then. Where the
// caller's ctx has ended, closing is bounded by leaving.
func (s *Session) keep(ctx, held context.Context, l *lease) {
	defer close(s.ended)
	defer s.end()
	s.err = s.hold(held, l)
	patience := min(s.ttl, DefaultTimeout)
	if s.err != nil {
		close(s.lost)
		<-held.Done()
	}
	if s.err != nil || ctx.Err() != nil {
		patience = min(patience, leaving)
	}
	s.failed = s.close(context.WithoutCancel(ctx), patience)
}

// renewed is the answer to a renewal.
type renewed struct {
	sent time.Time
	err  error
}

// hold renews the session until ctx ends; the error says that it is lost.
func (s *Session) hold(ctx context.Context, l *lease) error {
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

// sendRenewal sends a renewal and does not wait for its answer; by the other
// connection, where the last one has had none.
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
		case <-waiting.Done(): // the session has ended here, or is lost
		}
	}()
}

func (s *Session) renew(ctx context.Context) error {
	request := &boardv1.RenewSessionRequest{Board: s.board, SessionId: s.sessionID}
	_, err := call(ctx, &s.calls, s.stub.RenewSession, request)
	return err
}

func (s *Session) close(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := s.CloseSession(ctx, s.sessionID)
	if errors.Is(err, ErrSessionExpired) { // it has ended, and that is what was wanted
		return nil
	}
	return err
}

// CloseSession ends a session, whoever holds it, and returns how many files that
// frees.
func (c *calls) CloseSession(ctx context.Context, sessionID string) (int, error) {
	response, err := call(ctx, c, c.stub.CloseSession, &boardv1.CloseSessionRequest{Board: c.board, SessionId: sessionID})
	return int(response.GetReleased()), err
}

// ListSessions returns the sessions that live, in the byte order of their IDs.
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
