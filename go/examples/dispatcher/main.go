// Dispatcher runs a nebula: it reads the directory, and starts a worker process for
// each phase that is ready, several at a time. The board has the state of all phases.
//
//	dispatcher [flags] NEBULA_DIR -- WORKER_COMMAND...
//
// The worker's command gets the path of a phase's file as its last argument, the board
// in BOARD_TARGET and BOARD_NAME, and its own name in BOARD_WORKER. It sets the phase
// running in a session of its own, and exits with 0 once it has completed the phase. If
// other phases have files that it needs, it prints
// [{"filepath": ..., "owner": ...}, ...] on standard output and exits with 3; it is
// started again when those files are free. Any other exit means that the phase has
// failed, and the phases that depend on it never run. The phase and the files of a worker
// that is killed stay with it until its session expires.
//
// If the board requires a token or certificates, they are taken from the environment
// (BOARD_TOKEN_FILE, BOARD_TLS_CA and so on), which the workers inherit.
//
// Exit codes: 0, every phase is done; 1, some are not, or the board failed; 2,
// the command line or the nebula is wrong; 130, it was interrupted.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/papapumpkin/quasar-board/go/board"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(start(ctx, os.Args[1:]))
}

// start runs the command line, and returns the exit code.
func start(ctx context.Context, arguments []string) int {
	flags := flag.NewFlagSet("dispatcher", flag.ContinueOnError)
	fallback := cmp.Or(os.Getenv("BOARD_TARGET"), board.DefaultTarget)
	target := flags.String("target", fallback, "address of the board: HOST:PORT or unix:PATH")
	workers := flags.Int("workers", 4, "number of workers that may run at a time")
	if flags.Parse(arguments) != nil {
		return 2
	}
	if flags.NArg() < 3 || flags.Arg(1) != "--" || *workers < 1 {
		fmt.Fprintln(os.Stderr, "usage: dispatcher [--target ADDR] [--workers N] NEBULA_DIR -- WORKER_COMMAND...")
		return 2
	}
	plan, err := readNebula(flags.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "dispatcher:", err)
		return 2
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	client, err := board.Dial(ctx, *target, board.FromEnvironment(), board.WithBoard(plan.name), board.WithLogger(log))
	if err != nil {
		fmt.Fprintln(os.Stderr, "dispatcher:", err)
		return 1
	}
	defer func() { _ = client.Close() }()
	d := &dispatcher{
		board:      client,
		nebula:     plan,
		worker:     flags.Args()[2:],
		target:     *target,
		maxWorkers: *workers,
		log:        log,
	}
	done, err := d.dispatch(ctx)
	switch {
	case ctx.Err() != nil:
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "dispatcher:", err)
		return 1
	case !done:
		return 1
	}
	return 0
}
