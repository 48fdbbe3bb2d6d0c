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

// How calls are retried while the server is unavailable; docs/retries.md has the
// same values for all clients.
const (
	firstPause   = 100 * time.Millisecond
	largestPause = 2 * time.Second
	pauseFactor  = 2
	leastJitter  = 0.8
	mostJitter   = 1.2
	maxAttempts  = 6 // not counting the wait for a connection
	noMaxAttempt = math.MaxInt
)

// attemptsOf returns how often a unary call of the method is sent at most.
func attemptsOf(method string) int {
	if method == boardv1.BoardService_WaitFor_FullMethodName {
		return noMaxAttempt
	}
	return maxAttempts
}

// isUnavailable reports whether a call failed because the server is unavailable. A
// server that shuts down ends its calls as cancelled.
func isUnavailable(ctx context.Context, err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Canceled && ctx.Err() == nil
}

// pauses are the pauses between attempts. Each is longer than the one before, and
// varied at random, so that clients that lost a server together do not return
// together. The zero value begins with the first pause.
type pauses struct{ last time.Duration }

// wait waits for one pause. It returns false if ctx ended.
func (p *pauses) wait(ctx context.Context) bool {
	p.last = min(max(pauseFactor*p.last, firstPause), largestPause)
	jitter := leastJitter + (mostJitter-leastJitter)*rand.Float64()
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(float64(p.last) * jitter)):
		return true
	}
}

// retry makes a call, and makes it again while the server is unavailable, up to the
// given number of attempts in all. It returns the error of the last one.
func (c *connections) retry(ctx context.Context, attempts int, attempt func() error) error {
	var between pauses
	for made := 1; ; made++ {
		err := attempt()
		if !isUnavailable(ctx, err) || c.isClosed() || made == attempts || !between.wait(ctx) {
			return err
		}
	}
}
