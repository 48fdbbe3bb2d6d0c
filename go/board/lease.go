package board

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
)

// leaving bounds how long it may take to close a session whose context has
// ended, or that is lost.
const leaving = 2 * time.Second

// final are the errors of a renewal that no later one mends.
var final = []error{
	ErrSessionExpired, ErrBoardNotFound, ErrBoardReplaced, ErrUnauthenticated,
	ErrPermissionDenied, ErrInvalidArgument, ErrClosed,
}

// lease is what a client knows of its session's life, by its own monotonic
// clock. The session lives at least one ttl from when the last renewal that was
// answered reached the server, which is not before it was sent.
type lease struct {
	ttl        time.Duration
	ends       time.Time // when the session may have expired
	next       time.Time // when it is to be renewed
	unanswered bool      // the last renewal has had no answer yet, not even an error
}

// newLease begins when OpenSession was sent.
func newLease(ttl time.Duration, sent time.Time) *lease {
	return &lease{ttl: ttl, ends: sent.Add(ttl), next: sent.Add(ttl / 3)}
}

func (l *lease) lost() bool { return time.Until(l.ends) <= 0 }

func (l *lease) due() bool { return time.Until(l.next) <= 0 }

// pause returns how long there is nothing to do.
func (l *lease) pause() time.Duration { return time.Until(earlier(l.next, l.ends)) }

// send notes that a renewal is sent, and returns when. Another follows after a
// third of the ttl, whether or not this one is answered.
func (l *lease) send() time.Time {
	now := time.Now()
	l.next, l.unanswered = now.Add(l.ttl/3), true
	return now
}

// take takes the answer to the renewal that was sent then. It returns the error
// if that means that the session is lost.
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

// unrenewed is the error of a session none of whose renewals was answered in time.
func unrenewed(sessionID string, ttl time.Duration) error {
	return &Error{
		Code:     codes.FailedPrecondition,
		Metadata: map[string]string{"session_id": sessionID},
		Message: fmt.Sprintf("session %q could not be renewed for %v, its ttl: "+
			"the server may have ended it; drop its work", sessionID, ttl),
		kinds: []error{ErrSessionExpired},
	}
}
