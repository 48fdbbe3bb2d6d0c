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

// Exit code of a worker that needs a file which another phase has.
const exitConflict = 3

// conflict is what such a worker says on its standard output.
type conflict struct {
	Filepath string `json:"filepath"`
	Owner    string `json:"owner"`
}

// Error tells which file it is about.
func (c *conflict) Error() string { return fmt.Sprintf("%q is owned by %q", c.Filepath, c.Owner) }

// work runs a worker process for the phase. The error is a *conflict when the
// phase has to wait for a file.
func (d *dispatcher) work(ctx context.Context, p phase) error {
	arguments := append(d.worker[1:len(d.worker):len(d.worker)], p.path)
	process := exec.CommandContext(ctx, d.worker[0], arguments...)
	process.Env = append(os.Environ(), "BOARD_TARGET="+d.target, "BOARD_NAME="+d.nebula.name)
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
		c := &conflict{}
		if err := json.Unmarshal(stdout, c); err != nil {
			return fmt.Errorf("the worker does not say which file it needs: %w", err)
		}
		return c
	}
	return fmt.Errorf("%w: %s", err, lastLine(stderr.String()))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
