// Command load puts load on a gRPC server and reports how it did.
//
// It reads a Job as JSON from standard input and writes its Report as JSON to
// standard output. The job contains messages that are encoded already, so that
// the same generator can load the board, etcd and an echo, and spends no time
// on encoding. It checks the status of every reply: one error ends the run.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Job is the work: the loads run concurrently, while the watchers watch.
type Job struct {
	Target string `json:"target"`
	Loads  []Load `json:"loads"`
	Watch  *Watch `json:"watch"`
}

// Load is one operation, repeated.
type Load struct {
	// Steps are the calls of one operation, in order. Only the last is timed.
	Steps []Step `json:"steps"`
	// Connections each do one operation at a time.
	Connections int `json:"connections"`
	// WarmUp is the number of seconds before counting starts.
	WarmUp float64 `json:"warm_up"`
	// Seconds to run after that; 0 to run until Operations are done.
	Seconds float64 `json:"seconds"`
	// Operations to do in all, when Seconds is 0.
	Operations int `json:"operations"`
	// Rate in operations a second over all connections; 0 for as fast as
	// possible. With a rate, latency starts when an operation is due.
	Rate float64 `json:"rate"`
}

// Step is one call, and the requests to send in rotation.
type Step struct {
	Method string   `json:"method"`
	Bodies [][]byte `json:"bodies"`
	// Stream is set if the reply is a stream, which is read to its end.
	Stream bool `json:"stream"`
}

// Watch is a number of watchers, each on its own connection.
type Watch struct {
	Method   string `json:"method"`
	Body     []byte `json:"body"`
	Watchers int    `json:"watchers"`
	// Hold keeps the watchers connected until standard input ends, instead of
	// until they have received every event of the loads.
	Hold bool `json:"hold"`
}

// Report is the result of a job.
type Report struct {
	Loads []Result   `json:"loads"`
	Watch *Delivered `json:"watch,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run() error {
	input := json.NewDecoder(os.Stdin)
	var job Job
	if err := input.Decode(&job); err != nil {
		return fmt.Errorf("the job: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var report Report
	var watchers *watchers
	if job.Watch != nil {
		var err error
		if watchers, err = startWatching(ctx, job.Target, *job.Watch); err != nil {
			return err
		}
		defer func() { _ = watchers.stop() }()
	}
	begun := time.Now()
	results, err := runLoads(ctx, job)
	if err != nil {
		return err
	}
	report.Loads = results
	if job.Watch != nil {
		if job.Watch.Hold {
			fmt.Println("ready")
			var nothing any
			_ = input.Decode(&nothing) // returns when standard input ends
			return nil
		}
		if report.Watch, err = watchers.delivered(begun, total(results)); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

func runLoads(ctx context.Context, job Job) ([]Result, error) {
	results := make([]Result, len(job.Loads))
	failures := make([]error, len(job.Loads))
	var running sync.WaitGroup
	for i, load := range job.Loads {
		running.Go(func() { results[i], failures[i] = load.run(ctx, job.Target) })
	}
	running.Wait()
	return results, errors.Join(failures...)
}

func total(results []Result) int {
	sum := 0
	for _, result := range results {
		sum += result.Operations
	}
	return sum
}
