package board

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

const (
	defaultPort = "7447"
	unixPrefix  = "unix:"
	maxLabel    = 63 // bytes between two dots of a host's name
)

func isUnix(target string) bool { return strings.HasPrefix(target, unixPrefix) }

// normalized returns a target with its port; without one it gets the default port.
func normalized(target string) (string, error) {
	if isUnix(target) && target != unixPrefix {
		return target, nil
	}
	refused := fmt.Errorf("board: %q is neither HOST:PORT nor unix:PATH", target)
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		host, port = target, defaultPort
		if inner, ok := strings.CutPrefix(target, "["); ok && strings.HasSuffix(inner, "]") {
			host = strings.TrimSuffix(inner, "]")
		}
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", refused
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || host == "" || strings.ContainsAny(host, "/[] \t\n") {
		return "", refused
	}
	for label := range strings.SplitSeq(host, ".") {
		if net.ParseIP(host) == nil && (label == "" || len(label) > maxLabel) {
			return "", fmt.Errorf("board: %q has an invalid host name: %q is not a valid label", target, label)
		}
	}
	return net.JoinHostPort(host, port), nil
}

// isLocal reports whether a normalized target is on this machine.
func isLocal(target string) bool {
	host, _, _ := net.SplitHostPort(target)
	return isUnix(target) || host == "localhost" || net.ParseIP(host).IsLoopback()
}
