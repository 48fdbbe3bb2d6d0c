package board

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
)

const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)

// patience is the pause before the next try, twice as long each time, and varied:
// clients that lost a server together do not return together. The zero value
// begins with the shortest.
type patience struct{ pause time.Duration }

// wait waits once; false says that ctx ended.
func (p *patience) wait(ctx context.Context) bool {
	p.pause = min(max(2*p.pause, firstPause), lastPause)
	varied := time.Duration(float64(p.pause) * (0.8 + 0.4*rand.Float64()))
	select {
	case <-ctx.Done():
		return false
	case <-time.After(varied):
		return true
	}
}

// persistent makes a method try again while the board is away, for as long as
// its context lasts.
func persistent[Request, Response any](
	method func(context.Context, Request, ...grpc.CallOption) (Response, error),
) func(context.Context, Request, ...grpc.CallOption) (Response, error) {
	return func(ctx context.Context, request Request, opts ...grpc.CallOption) (Response, error) {
		for pause := (patience{}); ; {
			response, err := method(ctx, request, opts...)
			if !isAway(ctx, err) || !pause.wait(ctx) {
				return response, err
			}
		}
	}
}
