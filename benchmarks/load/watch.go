package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

// Delivered is what all watchers together received.
type Delivered struct {
	Events   int `json:"events"`
	Messages int `json:"messages"`
	// Seconds from the first write to the last delivery.
	Seconds float64 `json:"seconds"`
}

const eventsField = 2 // of WatchResponse

type watchers struct {
	cancel   context.CancelFunc
	conns    []*grpc.ClientConn
	reading  sync.WaitGroup
	events   atomic.Int64
	messages atomic.Int64
	failed   chan error
	count    int
}

// startWatching returns once every watcher has received its first message.
func startWatching(ctx context.Context, target string, asked Watch) (*watchers, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watchers{cancel: cancel, failed: make(chan error, asked.Watchers), count: asked.Watchers}
	for range asked.Watchers {
		conn, err := dial(target)
		if err != nil {
			return nil, errors.Join(err, w.stop())
		}
		w.conns = append(w.conns, conn)
		stream, err := open(ctx, conn, asked.Method, asked.Body)
		if err == nil {
			err = stream.RecvMsg(&received{})
		}
		if err != nil {
			return nil, errors.Join(err, w.stop())
		}
		w.reading.Go(func() { w.failed <- w.read(stream) })
	}
	return w, nil
}

func (w *watchers) read(stream grpc.ClientStream) error {
	for {
		reply := received{keep: true}
		if err := stream.RecvMsg(&reply); err != nil {
			return err
		}
		events, err := countEvents(reply.bytes)
		if err != nil {
			return err
		}
		w.messages.Add(1)
		w.events.Add(int64(events))
	}
}

// delivered waits until every watcher has received an event of each write.
func (w *watchers) delivered(begun time.Time, writes int) (*Delivered, error) {
	wanted := int64(writes * w.count)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for w.events.Load() < wanted {
		select {
		case err := <-w.failed:
			return nil, fmt.Errorf("a watcher: %w", err)
		case <-poll.C:
		}
	}
	took := time.Since(begun).Seconds()
	return &Delivered{int(w.events.Load()), int(w.messages.Load()), took}, nil
}

func (w *watchers) stop() error {
	w.cancel()
	var failures []error
	for _, conn := range w.conns {
		failures = append(failures, conn.Close())
	}
	w.reading.Wait()
	return errors.Join(failures...)
}

func countEvents(message []byte) (int, error) {
	events := 0
	for len(message) > 0 {
		number, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return 0, protowire.ParseError(size)
		}
		message = message[size:]
		size = protowire.ConsumeFieldValue(number, kind, message)
		if size < 0 {
			return 0, protowire.ParseError(size)
		}
		if number == eventsField {
			events++
		}
		message = message[size:]
	}
	return events, nil
}
