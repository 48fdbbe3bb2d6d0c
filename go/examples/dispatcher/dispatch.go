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

// How often a blocked phase looks whether its file is free.
const period = 100 * time.Millisecond

// dispatcher runs the phases of one nebula, each in a worker process, several
// at a time.
type dispatcher struct {
	board      *board.Client
	nebula     nebula
	worker     []string // command to which a phase's file is added
	target     string   // where the workers find the board
	maxWorkers int
	log        *slog.Logger

	idle chan string // names of the workers that have nothing to do
	runs map[string]*run
}

// run is the course of one phase; done is valid once ended is closed.
type run struct {
	ended chan struct{}
	done  bool
}

// dispatch carries out all that can be. done tells whether that was everything;
// the error, that the board failed or ctx ended.
func (d *dispatcher) dispatch(ctx context.Context) (done bool, err error) {
	d.idle = make(chan string, d.maxWorkers)
	for i := range d.maxWorkers {
		d.idle <- fmt.Sprint("worker-", i+1)
	}
	d.runs = map[string]*run{}
	for _, p := range d.nebula.phases {
		d.runs[p.ID] = &run{ended: make(chan struct{})}
		if err := d.giveBack(ctx, p); err != nil {
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
			if r.done, err = d.carryOut(ctx, p); err == nil {
				return
			}
			if ctx.Err() != nil {
				cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				err = errors.Join(err, d.giveBack(cleanup, p))
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

// carryOut waits for what the phase depends on, then works at it until it is
// done or has failed. Where something before it has not been done, it stays
// queued.
func (d *dispatcher) carryOut(ctx context.Context, p phase) (done bool, err error) {
	for _, id := range p.DependsOn {
		before := d.runs[id]
		<-before.ended
		if !before.done {
			return false, nil
		}
	}
	for {
		err := d.attempt(ctx, p)
		var broken *board.Error
		var blocked *conflict
		switch {
		case err == nil:
			return d.isDone(context.WithoutCancel(ctx), p)
		case ctx.Err() != nil, errors.As(err, &broken):
			return false, err
		case errors.As(err, &blocked):
			if err := d.waitUntilFree(ctx, p, blocked); err != nil {
				return false, err
			}
		default:
			return false, d.fail(ctx, p, err)
		}
	}
}

// attempt lets an idle worker work at the phase once.
func (d *dispatcher) attempt(ctx context.Context, p phase) error {
	var worker string
	select {
	case <-ctx.Done():
		return ctx.Err()
	case worker = <-d.idle:
	}
	defer func() { d.idle <- worker }()
	d.log.Info("runs", "phase", p.ID, "worker", worker)
	if _, err := d.board.SetPhase(ctx, p.ID, board.StateRunning, board.ByWorker(worker)); err != nil {
		return err
	}
	return d.work(ctx, p)
}

// isDone looks whether the worker has completed the phase, as it says.
func (d *dispatcher) isDone(ctx context.Context, p phase) (bool, error) {
	state, err := d.board.GetPhaseState(ctx, p.ID)
	if err != nil {
		return false, err
	}
	if state != board.StateDone {
		return false, d.fail(ctx, p, fmt.Errorf("the worker ended and left it %s", state))
	}
	d.log.Info("is done", "phase", p.ID)
	return true, nil
}

// fail leaves the phase failed, and frees what its worker had claimed.
func (d *dispatcher) fail(ctx context.Context, p phase, cause error) error {
	d.log.Error("failed", "phase", p.ID, "cause", cause)
	if err := d.board.SetPhaseState(ctx, p.ID, board.StateFailed); err != nil {
		return err
	}
	return d.board.ReleaseClaims(ctx, p.ID)
}

// waitUntilFree blocks the phase until nobody has the file that it needs.
func (d *dispatcher) waitUntilFree(ctx context.Context, p phase, c *conflict) error {
	d.log.Info("is blocked", "phase", p.ID, "file", c.Filepath, "owner", c.Owner)
	if _, err := d.board.SetPhase(ctx, p.ID, board.StateBlocked, board.ByWorker("")); err != nil {
		return err
	}
	look := time.NewTicker(period)
	defer look.Stop()
	for {
		owner, err := d.board.FileOwner(ctx, c.Filepath)
		if err != nil || owner == "" {
			return errors.Join(err, d.board.SetPhaseState(ctx, p.ID, board.StateQueued))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}

// giveBack leaves the phase as it is before anybody works at it.
func (d *dispatcher) giveBack(ctx context.Context, p phase) error {
	if _, err := d.board.SetPhase(ctx, p.ID, board.StateQueued, board.ByWorker("")); err != nil {
		return err
	}
	return d.board.ReleaseClaims(ctx, p.ID)
}
