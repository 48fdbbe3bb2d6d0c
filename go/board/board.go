// Package board is the Go client of a board: the state that a dispatcher and its
// workers share while they write code in parallel. [Board] is the interface, and
// [Dial] returns an implementation that calls a board server.
//
//	b, err := board.Dial(ctx, "127.0.0.1:7447", board.WithBoard("my-nebula"))
//	if err != nil {
//		return err
//	}
//	defer b.Close()
//	err = b.ClaimFile(ctx, "internal/board/sqlite.go", "board-store")
//	if errors.Is(err, board.ErrFileAlreadyClaimed) {
//		return nil // another phase has the file: do other work
//	}
package board

import (
	"context"
	"time"
)

// States of a phase. The board restricts no transition: any state may follow any other.
const (
	StateQueued        = "queued"         // waits for its dependencies or for a worker
	StatePolling       = "polling"        // looks for the contracts it needs
	StateRunning       = "running"        // a worker works on it
	StateBlocked       = "blocked"        // cannot continue until the board changes
	StateDone          = "done"           // finished, its contracts are published
	StateFailed        = "failed"         // ended without its result
	StateHumanDecision = "human_decision" // a person has to decide how it continues
	StateDecomposed    = "decomposed"     // replaced by smaller phases
)

// Kinds of code artifacts that a contract describes.
const (
	KindType      = "type"      // a named type that is not an interface
	KindFunction  = "function"  // a function
	KindInterface = "interface" // an interface definition
	KindMethod    = "method"    // a method on a type
	KindPackage   = "package"   // a package as a whole
	KindFile      = "file"      // a file; the contract's name is its path
)

// Statuses of a contract: whether its code exists.
const (
	StatusFulfilled = "fulfilled" // the code exists
	StatusDisputed  = "disputed"  // another phase or a person contradicts it
	StatusPending   = "pending"   // promised, not yet written
)

// Contract is an interface artifact that a phase leaves for those that depend
// on it. Its key on a board is (Producer, Kind, Name).
type Contract struct {
	ID        int64     `json:"id"`         // assigned by the board; contracts are listed in its order
	Producer  string    `json:"producer"`   // ID of the phase that published it
	Kind      string    `json:"kind"`       // one of the Kind constants
	Name      string    `json:"name"`       // name of the symbol, or path of the file
	Signature string    `json:"signature"`  // full signature or definition; may be empty
	Package   string    `json:"package"`    // package that holds it; empty for a file at the root
	Status    string    `json:"status"`     // one of the Status constants; empty means StatusFulfilled
	CreatedAt time.Time `json:"created_at"` // when it was first published, UTC; assigned by the board
}

// FileClaim is the right of one phase to edit one file.
type FileClaim struct {
	Filepath  string    `json:"filepath"`   // as given, never rewritten
	OwnerTask string    `json:"owner_task"` // ID of the phase that claimed the file
	ClaimedAt time.Time `json:"claimed_at"` // when the owner first claimed it, UTC
	SessionID string    `json:"session_id"` // session that it is bound to; "" for none
}

// Board is the shared state store for contract-based execution.
//
// Its methods are safe for concurrent use. A missing thing is not an error:
// reads return the zero value. After a write has returned nil, every read on any
// connection sees its effect.
type Board interface {
	// SetPhaseState creates the phase or updates its state. Any state may
	// follow any other, itself included; the last write wins.
	SetPhaseState(ctx context.Context, phaseID, state string) error

	// GetPhaseState returns the phase's state, "" if the phase does not exist.
	GetPhaseState(ctx context.Context, phaseID string) (string, error)

	// PublishContract creates or replaces the contract with the same producer,
	// kind and name. Its ID and CreatedAt stay.
	PublishContract(ctx context.Context, c Contract) error

	// PublishContracts publishes a batch in one transaction, all or none, each
	// as PublishContract does; of two with the same key the last one wins. An
	// empty batch succeeds.
	PublishContracts(ctx context.Context, contracts []Contract) error

	// ContractsFor returns the contracts that the phase has published, by ID.
	ContractsFor(ctx context.Context, phaseID string) ([]Contract, error)

	// AllContracts returns every contract of the board, by ID.
	AllContracts(ctx context.Context) ([]Contract, error)

	// ClaimFile makes the phase the only one that may edit the file. Claiming a
	// file again succeeds and changes nothing. If another phase has it, the
	// error is ErrFileAlreadyClaimed, and its text names the path and the owner.
	ClaimFile(ctx context.Context, filepath, ownerPhaseID string) error

	// ReleaseClaims releases every file that the phase has claimed.
	ReleaseClaims(ctx context.Context, ownerPhaseID string) error

	// FileOwner returns the ID of the phase that claimed the file, "" if none did.
	FileOwner(ctx context.Context, filepath string) (string, error)

	// ClaimsFor returns the paths that the phase has claimed, in byte order.
	ClaimsFor(ctx context.Context, phaseID string) ([]string, error)

	// Close ends the use of this handle. The board keeps its contents.
	Close() error
}
