package board_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

// Sixteen goroutines share one client, and the server is killed and restarted
// meanwhile: no call fails, and none is lost.
func TestCallsOfManyGoroutinesSurviveARestart(t *testing.T) {
	t.Parallel()
	const goroutines, half = 16, 40
	server := servertest.Start(t)
	client := dial(t, server.Target)

	ctx, stop := context.WithCancel(t.Context())
	finished := make(chan struct{})
	rounds := make([]int, goroutines)
	var workers sync.WaitGroup
	for i := range goroutines {
		workers.Go(func() {
			for ctx.Err() == nil {
				rounds[i]++
				if err := oneRound(t, client, fmt.Sprint("p", i), rounds[i]); err != nil {
					t.Errorf("p%d in round %d: %v", i, rounds[i], err)
					stop()
				}
				select {
				case finished <- struct{}{}:
				case <-ctx.Done():
				}
			}
		})
	}
	for round := range 2 * half {
		select {
		case <-finished:
		case <-ctx.Done():
		}
		if round == half {
			server.Kill()
			server.Restart()
		}
	}
	stop()
	workers.Wait()

	for i, count := range rounds {
		phase := fmt.Sprint("p", i)
		contracts, err := client.ContractsFor(t.Context(), phase)
		if err != nil || len(contracts) != count {
			t.Errorf("%s: %d contracts, %v, after %d rounds", phase, len(contracts), err, count)
		}
	}
	claims, err := client.ListClaims(t.Context(), "")
	if err != nil || len(claims) != 0 {
		t.Errorf("claims are left: %v, %v", claims, err)
	}
}

// oneRound does what a phase does, and reads back what it did.
func oneRound(t *testing.T, b board.Board, phase string, round int) error {
	ctx, file := t.Context(), phase+".go"
	for _, state := range []string{board.StateRunning, board.StateDone} {
		if err := b.SetPhaseState(ctx, phase, state); err != nil {
			return err
		}
		if got, err := b.GetPhaseState(ctx, phase); err != nil || got != state {
			return fmt.Errorf("state %q after %q: %w", got, state, err)
		}
	}
	if err := b.ClaimFile(ctx, file, phase); err != nil {
		return err
	}
	if owner, err := b.FileOwner(ctx, file); err != nil || owner != phase {
		return fmt.Errorf("owner %q: %w", owner, err)
	}
	name := fmt.Sprint("F", round)
	if err := b.PublishContract(ctx, board.Contract{Producer: phase, Kind: board.KindFunction, Name: name}); err != nil {
		return err
	}
	return b.ReleaseClaims(ctx, phase)
}
