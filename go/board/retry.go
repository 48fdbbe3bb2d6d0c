package board

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// How calls are sent again while the server is away; docs/retries.md has the same
// values for all clients.
const (
	firstPause   = 100 * time.Millisecond
	lastPause    = 2 * time.Second
	pauseFactor  = 2
	leastJitter  = 0.8
	mostJitter   = 1.2
	maxAttempts  = 6 // not counting the wait for a connection
	noMaxAttempt = math.MaxInt
)

// attemptsOf returns how often a unary call is sent at most.
func attemptsOf(method string) int {
	if method == boardv1.BoardService_WaitFor_FullMethodName {
		return noMaxAttempt
	}
	return maxAttempts
}

// isAway reports whether a call failed because the server is away: a server that
// stops ends calls as cancelled.
func isAway(ctx context.Context, err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Canceled && ctx.Err() == nil
}

// patience is the pause before the next attempt. It grows with each attempt, and
// varies, so that clients that lost a server together do not return together. The
// zero value begins with the first pause.
type patience struct{ pause time.Duration }

// wait waits once. It returns false if ctx ended.
func (p *patience) wait(ctx context.Context) bool {
	p.pause = min(max(pauseFactor*p.pause, firstPause), lastPause)
	jitter := leastJitter + (mostJitter-leastJitter)*rand.Float64()
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(float64(p.pause) * jitter)):
		return true
	}
}

// retry makes a call, and makes it again while the server is away, up to the given
// number of attempts in all. It returns the error of the last one.
func (c *connections) retry(ctx context.Context, attempts int, attempt func() error) error {
	pause := patience{}
	for made := 1; ; made++ {
		err := attempt()
		if !isAway(ctx, err) || c.isClosed() || made == attempts || !pause.wait(ctx) {
			return err
		}
	}
}
