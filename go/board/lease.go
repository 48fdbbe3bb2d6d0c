package board

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
)

// hurriedClose bounds closing a session that is lost or whose context has ended.
const hurriedClose = 2 * time.Second

// final are the errors of a renewal after which no later renewal can succeed.
var final = []error{
	ErrSessionExpired, ErrBoardNotFound, ErrBoardReplaced, ErrUnauthenticated,
	ErrPermissionDenied, ErrInvalidArgument, ErrClosed,
}

// lease says when its session may expire, by the client's monotonic clock: one ttl
// after the last answered renewal was sent.
type lease struct {
	ttl        time.Duration
	ends       time.Time // when the session may have expired
	next       time.Time // when to renew it
	unanswered bool      // the last renewal has neither a reply nor an error yet
}

// newLease returns the lease of a session whose OpenSession was sent at that time.
func newLease(ttl time.Duration, sent time.Time) *lease {
	return &lease{ttl: ttl, ends: sent.Add(ttl), next: sent.Add(ttl / 3)}
}

func (l *lease) lost() bool { return time.Until(l.ends) <= 0 }

func (l *lease) due() bool { return time.Until(l.next) <= 0 }

// pause returns the time until a renewal is due or the session may have expired.
func (l *lease) pause() time.Duration { return time.Until(earlier(l.next, l.ends)) }

// send notes that a renewal is sent now, and returns the time. The next one is due
// after a third of the ttl, whether or not this one is answered.
func (l *lease) send() time.Time {
	now := time.Now()
	l.next, l.unanswered = now.Add(l.ttl/3), true
	return now
}

// take handles the answer to the renewal that was sent at that time. It returns the
// error if the session is lost.
func (l *lease) take(sent time.Time, err error) error {
	l.unanswered = false
	if err == nil {
		if ends := sent.Add(l.ttl); ends.After(l.ends) {
			l.ends = ends
		}
		return nil
	}
	for _, kind := range final {
		if errors.Is(err, kind) {
			return err
		}
	}
	l.next = earlier(l.next, time.Now().Add(min(time.Second, l.ttl/10)))
	return nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// unrenewed returns the error of a session if no renewal was answered in time.
func unrenewed(sessionID string, ttl time.Duration) error {
	return &Error{
		Code:     codes.FailedPrecondition,
		Metadata: map[string]string{"session_id": sessionID},
		Message: fmt.Sprintf("session %q could not be renewed for %v, its ttl: "+
			"the server may have ended it; drop its work", sessionID, ttl),
		kinds: []error{ErrSessionExpired},
	}
}
