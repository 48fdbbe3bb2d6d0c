package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/papapumpkin/quasar-board/go/board"
)

// maxConditions is the largest number of conditions of a WaitFor.
const maxConditions = 100

// dispatcher runs the phases of one nebula, each in a worker process, several
// at a time.
type dispatcher struct {
	board      *board.Client
	nebula     nebula
	worker     []string // the worker's command; a phase's file is its last argument
	target     string   // the board's address, for the workers
	maxWorkers int
	log        *slog.Logger

	idle chan string // names of idle workers
	runs map[string]*run
}

// run is the run of one phase. done says whether the phase is done, once ended is
// closed.
type run struct {
	ended chan struct{}
	done  bool
}

// dispatch runs every phase that can run. done reports whether all phases are done; the
// error is that of the board, or of ctx.
func (d *dispatcher) dispatch(ctx context.Context) (done bool, err error) {
	d.idle = make(chan string, d.maxWorkers)
	for i := range d.maxWorkers {
		d.idle <- fmt.Sprint("worker-", i+1)
	}
	d.runs = map[string]*run{}
	for _, p := range d.nebula.phases {
		d.runs[p.ID] = &run{ended: make(chan struct{})}
		if err := d.reset(ctx, p); err != nil {
			return false, err
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	for _, p := range d.nebula.phases {
		all.Go(func() {
			r := d.runs[p.ID]
			defer close(r.ended)
			var err error
			if r.done, err = d.runPhase(ctx, p); err == nil {
				return
			}
			if ctx.Err() != nil {
				cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				err = errors.Join(err, d.reset(cleanup, p))
			}
			stop(fmt.Errorf("%s: %w", p.ID, err))
		})
	}
	all.Wait()
	done = true
	for _, r := range d.runs {
		done = done && r.done
	}
	return done, context.Cause(ctx)
}

// runPhase waits for the phase's dependencies, and then runs the phase until it is done
// or has failed. If a dependency is not done, the phase stays queued.
func (d *dispatcher) runPhase(ctx context.Context, p phase) (done bool, err error) {
	for _, id := range p.DependsOn {
		before := d.runs[id]
		<-before.ended
		if !before.done {
			return false, nil
		}
	}
	for {
		err := d.attempt(ctx, p)
		var taken conflicts
		switch {
		case errors.As(err, &taken):
			if err := d.waitUntilFree(ctx, p, taken); err != nil {
				return false, err
			}
		case err == nil:
			return d.outcome(context.WithoutCancel(ctx), p, nil)
		case ctx.Err() != nil:
			return false, err
		default:
			return d.outcome(ctx, p, err)
		}
	}
}

// attempt waits for an idle worker, and runs the phase with it once.
func (d *dispatcher) attempt(ctx context.Context, p phase) error {
	var worker string
	select {
	case <-ctx.Done():
		return ctx.Err()
	case worker = <-d.idle:
	}
	defer func() { d.idle <- worker }()
	d.log.Info("runs", "phase", p.ID, "worker", worker)
	return d.work(ctx, p, worker)
}

// outcome reads the phase's state after its worker has ended, with this error or none,
// and reports whether the phase is done. If it is not, outcome sets it failed.
func (d *dispatcher) outcome(ctx context.Context, p phase, ended error) (bool, error) {
	now, _, err := d.board.GetPhase(ctx, p.ID)
	if err == nil && now.State == board.StateRunning && now.SessionID != "" {
		// The worker has not completed the phase. Wait until the session expires:
		// processes that the worker has started may still edit its files.
		var met *board.Met
		if met, err = d.board.WaitFor(ctx, board.PhaseIn(p.ID, board.StateDone, board.StateFailed)); err == nil {
			now = met.Phases[0]
		}
	}
	if err != nil {
		return false, err
	}
	if now.State == board.StateDone {
		d.log.Info("is done", "phase", p.ID)
		return true, nil
	}
	d.log.Error("failed", "phase", p.ID, "left", now.State, "cause", ended)
	_, err = d.board.CompletePhase(ctx, p.ID, board.StateFailed, nil)
	return false, err
}

// waitUntilFree sets the phase blocked until the files that it needs are free.
func (d *dispatcher) waitUntilFree(ctx context.Context, p phase, taken conflicts) error {
	d.log.Info("is blocked", "phase", p.ID, "by", taken)
	if _, err := d.board.SetPhase(ctx, p.ID, board.StateBlocked, board.ByWorker("")); err != nil {
		return err
	}
	var free []board.Condition
	for _, c := range taken[:min(len(taken), maxConditions)] {
		free = append(free, board.FileFree(c.Filepath))
	}
	if _, err := d.board.WaitFor(ctx, free...); err != nil {
		return err
	}
	return d.board.SetPhaseState(ctx, p.ID, board.StateQueued)
}

// reset queues the phase, without a worker, and releases its files.
func (d *dispatcher) reset(ctx context.Context, p phase) error {
	if _, err := d.board.SetPhase(ctx, p.ID, board.StateQueued, board.ByWorker("")); err != nil {
		return err
	}
	return d.board.ReleaseClaims(ctx, p.ID)
}
