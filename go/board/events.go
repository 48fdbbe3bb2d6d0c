package board

import (
	"time"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Kinds of events, to watch only those.
const (
	EventPhase    = "phase"    // a phase was created, set or removed
	EventContract = "contract" // a contract was published or removed
	EventClaim    = "claim"    // a file was claimed or released
	EventSession  = "session"  // a session was opened or has ended
)

// Changes that an event can tell of.
const (
	ChangePhase           = "phase"            // Phase was created or set
	ChangePhaseRemoved    = "phase_removed"    // Phase is gone; here it is as it had been
	ChangeContract        = "contract"         // Contract was published, with something new in it
	ChangeContractRemoved = "contract_removed" // Contract is gone; here it is without its signature
	ChangeClaimed         = "claimed"          // Claim was made, or bound to another session
	ChangeReleased        = "released"         // Claim was released; here it is as it had been
	ChangeSessionOpened   = "session_opened"   // Session was opened
	ChangeSessionEnded    = "session_ended"    // Session was closed or has expired
	ChangeSnapshot        = "snapshot"         // Snapshot replaces all that was known before
)

// Causes of a change.
const (
	CauseCall           = "call"            // a caller asked for it
	CauseSessionExpired = "session_expired" // a session was not renewed within its ttl
	CauseSessionClosed  = "session_closed"  // a session was closed
	CauseArchive        = "archive"         // the board was archived
)

// Event is one change of the board, with the whole record as it then was: of
// the pointers, the one that Change names is set. All events of one call have
// its revision.
type Event struct {
	Revision int64     // of the transaction that made the change
	Time     time.Time // of that transaction, UTC
	Cause    string    // one of the Cause constants; "" for one that this client does not know
	Change   string    // one of the Change constants; likewise

	Phase    *Phase
	Contract *Contract
	Claim    *FileClaim
	Session  *SessionInfo
	Snapshot *Snapshot // from a watch with FromSnapshot; it has neither Time nor Cause
}

func event(message *boardv1.Event) Event {
	e := Event{
		Revision: message.GetRevision(),
		Time:     message.GetTime().AsTime(),
		Cause:    causes.word(message.GetCause()),
	}
	switch change := message.GetChange().(type) {
	case *boardv1.Event_Phase:
		e.Change, e.Phase = ChangePhase, pointer(phase(change.Phase))
	case *boardv1.Event_PhaseRemoved:
		e.Change, e.Phase = ChangePhaseRemoved, pointer(phase(change.PhaseRemoved))
	case *boardv1.Event_ContractRemoved:
		e.Change, e.Contract = ChangeContractRemoved, pointer(contract(change.ContractRemoved))
	case *boardv1.Event_Contract:
		e.Change, e.Contract = ChangeContract, pointer(contract(change.Contract))
	case *boardv1.Event_Claimed:
		e.Change, e.Claim = ChangeClaimed, pointer(claim(change.Claimed))
	case *boardv1.Event_Released:
		e.Change, e.Claim = ChangeReleased, pointer(claim(change.Released))
	case *boardv1.Event_SessionOpened:
		e.Change, e.Session = ChangeSessionOpened, pointer(sessionInfo(change.SessionOpened))
	case *boardv1.Event_SessionEnded:
		e.Change, e.Session = ChangeSessionEnded, pointer(sessionInfo(change.SessionEnded))
	}
	return e
}

func pointer[T any](value T) *T { return &value }
