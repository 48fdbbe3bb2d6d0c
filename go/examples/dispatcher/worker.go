package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// exitConflict is the exit code of a worker that needs files of other phases.
const exitConflict = 3

// conflicts is what such a worker prints on standard output: one or more files.
type conflicts []struct {
	Filepath string `json:"filepath"`
	Owner    string `json:"owner"`
}

// Error names the first file.
func (c conflicts) Error() string {
	return fmt.Sprintf("%q is owned by %q, the first of %d", c[0].Filepath, c[0].Owner, len(c))
}

// work runs a worker process for the phase. If the phase has to wait for files, the
// error is a conflicts.
func (d *dispatcher) work(ctx context.Context, p phase, worker string) error {
	arguments := append(d.worker[1:len(d.worker):len(d.worker)], p.path)
	process := exec.CommandContext(ctx, d.worker[0], arguments...)
	process.Env = append(os.Environ(), "BOARD_TARGET="+d.target, "BOARD_NAME="+d.nebula.name, "BOARD_WORKER="+worker)
	process.Cancel = func() error { return process.Process.Signal(syscall.SIGTERM) }
	process.WaitDelay = 5 * time.Second // then it is killed
	var stderr bytes.Buffer
	process.Stderr = &stderr
	stdout, err := process.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if exit.ExitCode() == exitConflict {
		var taken conflicts
		if err := json.Unmarshal(stdout, &taken); err != nil || len(taken) == 0 {
			return fmt.Errorf("the worker does not say which files it needs: %q, %w", stdout, err)
		}
		return taken
	}
	return fmt.Errorf("%w: %s", err, lastLine(stderr.String()))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
