// Dispatcher carries out a nebula: it reads the directory, and for each phase
// that is ready starts a worker process, several at a time. The board holds
// where everything stands.
//
//	dispatcher [flags] NEBULA_DIR -- WORKER_COMMAND...
//
// The worker's command gets the path of a phase's file as its last argument,
// finds its board by BOARD_TARGET and BOARD_NAME, and its own name in
// BOARD_WORKER. It sets the phase running in a session of its own, and ends
// with 0 once it has completed the phase. It ends with 3 when other phases have
// files that it needs: then [{"filepath": ..., "owner": ...}, ...] stands on its
// standard output, and it is started again when those files are free. After any
// other end the phase has failed, and what depends on it never runs. A worker
// that dies without a word keeps its phase and its files until its session ends.
//
// A token or certificates, where the board asks for them, come from the
// environment (BOARD_TOKEN_FILE, BOARD_TLS_CA and their like), which the workers
// inherit.
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

// start reads the command line and runs; it returns the exit code.
func start(ctx context.Context, arguments []string) int {
	flags := flag.NewFlagSet("dispatcher", flag.ContinueOnError)
	here := cmp.Or(os.Getenv("BOARD_TARGET"), board.DefaultTarget)
	target := flags.String("target", here, "where the board is: HOST:PORT or unix:PATH")
	workers := flags.Int("workers", 4, "how many may work at a time")
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
