package servertest

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// Token adds a token to a server's token file, with arguments of `board token create`
// such as "--role", "worker". It returns the secret, "" for a certificate.
func Token(t testing.TB, file, name string, arguments ...string) string {
	t.Helper()
	return tokens(t, append([]string{"create", "--file", file, "--name", name}, arguments...)...)
}

// Revoke removes a token from a server's token file.
func Revoke(t testing.TB, file, name string) {
	t.Helper()
	tokens(t, "revoke", "--file", file, name)
}

func tokens(t testing.TB, arguments ...string) string {
	t.Helper()
	command := exec.Command(Python(t), append([]string{"-m", "board_server.auth"}, arguments...)...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("board token %v: %v\n%s", arguments, err, stderr.String())
	}
	return strings.TrimSpace(string(output))
}
