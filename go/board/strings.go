package board

import (
	"fmt"
	"strings"
)

// String returns the phase in one line, such as `phase "a": running, worker "ada"`.
func (p Phase) String() string {
	text := fmt.Sprintf("phase %q: %s", p.PhaseID, orUnknown(p.State))
	if p.Worker != "" {
		text += fmt.Sprintf(", worker %q", p.Worker)
	}
	return text + inSession(p.SessionID)
}

// String returns the contract in one line, without its signature, such as
// `function "New" in package "a" by phase "p": fulfilled`.
func (c Contract) String() string {
	text := fmt.Sprintf("%s %q", orUnknown(c.Kind), c.Name)
	if c.Package != "" {
		text += fmt.Sprintf(" in package %q", c.Package)
	}
	status := c.Status
	if status == "" && c.ID == 0 { // not read from a board
		status = StatusFulfilled
	}
	return fmt.Sprintf("%s by phase %q: %s", text, c.Producer, orUnknown(status))
}

// String returns the claim in one line, such as `file "a.go": claimed by phase "p"`.
func (c FileClaim) String() string {
	return fmt.Sprintf("file %q: claimed by phase %q", c.Filepath, c.OwnerTask) + inSession(c.SessionID)
}

// String returns the conflict in one line, such as `file "a.go": claimed by phase "p"`.
func (c Conflict) String() string {
	return FileClaim{Filepath: c.Filepath, OwnerTask: c.Owner}.String()
}

// String returns the session in one line, such as
// `session "4f": worker "ada", ttl 30s, on expiry fail`.
func (s SessionInfo) String() string {
	return fmt.Sprintf("session %q: worker %q, ttl %v, on expiry %s", s.SessionID, s.Worker, s.TTL, orUnknown(s.OnExpiry))
}

// String returns the board in one line, such as `board "nebula" at revision 7`.
func (i Info) String() string { return fmt.Sprintf("board %q at revision %d", i.Name, i.Revision) }

// String returns the event in one line, such as
// `revision 7: released (session_expired): file "a.go": claimed by phase "p"`.
func (e Event) String() string {
	text := fmt.Sprintf("revision %d: %s", e.Revision, orUnknown(e.Change))
	if e.Cause != "" {
		text += fmt.Sprintf(" (%s)", e.Cause)
	}
	switch {
	case e.Phase != nil:
		text += fmt.Sprint(": ", e.Phase)
	case e.Contract != nil:
		text += fmt.Sprint(": ", e.Contract)
	case e.Claim != nil:
		text += fmt.Sprint(": ", e.Claim)
	case e.Session != nil:
		text += fmt.Sprint(": ", e.Session)
	case e.Snapshot != nil:
		text += fmt.Sprint(": ", e.Snapshot)
	}
	return text
}

// String returns how much the snapshot holds, such as
// `revision 7: 2 phases, 9 contracts, 3 claims, 1 session`.
func (s Snapshot) String() string {
	return fmt.Sprintf("revision %d: %s, %s, %s, %s", s.Revision, count(len(s.Phases), "phase"),
		count(len(s.Contracts), "contract"), count(len(s.Claims), "claim"), count(len(s.Sessions), "session"))
}

// String returns what met the conditions, in one line.
func (m Met) String() string {
	parts := []string{fmt.Sprint("revision ", m.Revision)}
	for _, p := range m.Phases {
		parts = append(parts, p.String())
	}
	for _, c := range m.Contracts {
		parts = append(parts, c.String())
	}
	return strings.Join(parts, "; ")
}

// String returns what CompletePhase did, in one line, such as
// `phase "a": done; 2 contracts published, 1 claim released`.
func (c Completion) String() string {
	return fmt.Sprintf("%v; %s published, %s released", c.Phase, count(c.Published, "contract"), count(c.Released, "claim"))
}

// String returns what was removed, such as `2 phases, 9 contracts, 1 claim removed`.
func (a Archived) String() string {
	return fmt.Sprintf("%s, %s, %s removed", count(a.Phases, "phase"), count(a.Contracts, "contract"), count(a.Claims, "claim"))
}

// inSession returns the end of a record's text: the session that it is bound to, if
// any.
func inSession(sessionID string) string {
	if sessionID == "" {
		return ""
	}
	return fmt.Sprintf(", session %q", sessionID)
}

// orUnknown returns the word of an enum, or "unknown" for one that this client does
// not know.
func orUnknown(word string) string {
	if word == "" {
		return "unknown"
	}
	return word
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
