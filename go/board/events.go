package board

import (
	"time"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Kinds of events, for the option Kinds.
const (
	EventPhase    = "phase"    // a phase was created, set or removed
	EventContract = "contract" // a contract was published or removed
	EventClaim    = "claim"    // a file was claimed or released
	EventSession  = "session"  // a session was opened or ended
)

// Changes that an event reports.
const (
	ChangePhase           = "phase"            // Phase was created or set
	ChangePhaseRemoved    = "phase_removed"    // Phase was removed; it is as it was before
	ChangeContract        = "contract"         // Contract was published, and differs from before
	ChangeContractRemoved = "contract_removed" // Contract was removed; it has no signature here
	ChangeClaimed         = "claimed"          // Claim was made, or bound to another session
	ChangeReleased        = "released"         // Claim was released; it is as it was before
	ChangeSessionOpened   = "session_opened"   // Session was opened
	ChangeSessionEnded    = "session_ended"    // Session was closed or expired
	ChangeSnapshot        = "snapshot"         // Snapshot replaces all earlier events
)

// Causes of a change.
const (
	CauseCall           = "call"            // a call made the change
	CauseSessionExpired = "session_expired" // a session was not renewed within its ttl
	CauseSessionClosed  = "session_closed"  // a session was closed
	CauseArchive        = "archive"         // the board was archived
)

// Event is one change of the board, with the whole record as it was then: one of
// the pointers is set, according to Change. All events of a call have the same
// revision.
type Event struct {
	Revision int64     // of the transaction that made the change
	Time     time.Time // of that transaction, UTC
	Cause    string    // one of the Cause constants; "" if this client does not know it
	Change   string    // one of the Change constants; "" if this client does not know it

	Phase    *Phase
	Contract *Contract
	Claim    *FileClaim
	Session  *SessionInfo
	Snapshot *Snapshot // of a watch with FromSnapshot; the event has no Time and no Cause
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
