package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// Result is the result of one load, without its warm-up.
type Result struct {
	Operations int `json:"operations"`
	// Seconds from the first to the last operation.
	Seconds float64 `json:"seconds"`
	// Busy is the mean number of seconds that a connection spent in timed calls.
	Busy float64 `json:"busy"`
	// Bytes is the mean size of a timed call's reply.
	Bytes int     `json:"bytes"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
}

// worker repeats the operation on one connection.
type worker struct {
	load      *Load
	conn      *grpc.ClientConn
	number    int
	latencies []time.Duration
	bytes     int
}

func (l *Load) run(ctx context.Context, target string) (Result, error) {
	workers, err := l.workers(ctx, target)
	defer func() {
		for _, w := range workers {
			_ = w.conn.Close()
		}
	}()
	if err != nil {
		return Result{}, err
	}
	begin := time.Now().Add(seconds(l.WarmUp))
	failures := make([]error, len(workers))
	var left atomic.Int64
	left.Store(int64(l.Operations))
	var running sync.WaitGroup
	for i, w := range workers {
		running.Go(func() { failures[i] = w.work(ctx, begin, &left) })
	}
	running.Wait()
	return l.sum(workers, time.Since(begin)), errors.Join(failures...)
}

// workers connects them; if there is a warm-up, each does one operation that is not counted.
func (l *Load) workers(ctx context.Context, target string) ([]*worker, error) {
	var workers []*worker
	for number := range l.Connections {
		conn, err := dial(target)
		if err != nil {
			return workers, err
		}
		w := &worker{load: l, conn: conn, number: number}
		workers = append(workers, w)
		if l.WarmUp > 0 {
			if _, _, err := w.operation(ctx, 0); err != nil {
				return workers, err
			}
		}
	}
	return workers, nil
}

func (w *worker) work(ctx context.Context, begin time.Time, left *atomic.Int64) error {
	end := begin.Add(seconds(w.load.Seconds))
	for turn := 1; ; turn++ {
		var due time.Time
		if w.load.Rate > 0 {
			due = w.due(begin, turn)
			time.Sleep(time.Until(due))
		}
		if w.load.Seconds > 0 && !time.Now().Before(end) {
			return nil
		}
		if w.load.Seconds == 0 && left.Add(-1) < 0 {
			return nil
		}
		latency, size, err := w.operation(ctx, turn)
		if err != nil {
			return err
		}
		now := time.Now()
		if now.Before(begin) {
			continue
		}
		if w.load.Rate > 0 {
			latency = now.Sub(due)
		}
		w.latencies = append(w.latencies, latency)
		w.bytes += size
	}
}

// due is when an operation of a worker starts, given the rate of all workers together.
func (w *worker) due(begin time.Time, turn int) time.Time {
	first := begin.Add(-seconds(w.load.WarmUp))
	operations := (turn-1)*w.load.Connections + w.number
	return first.Add(seconds(float64(operations) / w.load.Rate))
}

// operation makes the calls, with different bytes for each worker and turn, and times the last.
func (w *worker) operation(ctx context.Context, turn int) (time.Duration, int, error) {
	steps := w.load.Steps
	for i := range steps {
		begun := time.Now()
		size, err := steps[i].do(ctx, w.conn, turn*w.load.Connections+w.number)
		if err != nil || i == len(steps)-1 {
			return time.Since(begun), size, err
		}
	}
	return 0, 0, nil
}

func (l *Load) sum(workers []*worker, took time.Duration) Result {
	var all []time.Duration
	var busy time.Duration
	bytes := 0
	for _, w := range workers {
		all = append(all, w.latencies...)
		bytes += w.bytes
	}
	if len(all) == 0 {
		return Result{Seconds: took.Seconds()}
	}
	for _, latency := range all {
		busy += latency
	}
	slices.Sort(all)
	return Result{
		Operations: len(all),
		Seconds:    took.Seconds(),
		Busy:       busy.Seconds() / float64(len(workers)),
		Bytes:      bytes / len(all),
		P50:        all[len(all)/2].Seconds(),
		P99:        all[len(all)*99/100].Seconds(),
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
