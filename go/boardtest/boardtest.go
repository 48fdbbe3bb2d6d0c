// Package boardtest tests that an implementation of [board.Board], whether the client
// of a server or a store in the process, does what its documentation says.
package boardtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/papapumpkin/quasar-board/go/board"
)

// Open returns another handle on the board of a test, which is closed when the test
// ends.
type Open func() board.Board

// Run runs the tests. For each of them, fresh makes an empty board of its own.
func Run(t *testing.T, fresh func(t *testing.T) Open) {
	t.Helper()
	for _, behaviour := range behaviours {
		t.Run(behaviour.name, func(t *testing.T) {
			s := suite{T: t, ctx: t.Context(), open: fresh(t)}
			s.board = s.open()
			behaviour.test(&s)
		})
	}
}

var behaviours = []struct {
	name string
	test func(s *suite)
}{
	{"a missing thing is not an error", missing},
	{"publishing an empty batch and releasing nothing succeed", emptyWrites},
	{"any state may follow any other", anyTransition},
	{"the last of two states wins", lastStateWins},
	{"contracts of every kind and status are kept", everyKindAndStatus},
	{"an empty status means fulfilled", emptyStatus},
	{"signature and package may be empty", emptySignatureAndPackage},
	{"the text of a contract is kept byte for byte", contractText},
	{"publishing again keeps the id and creation time and replaces the rest", upsert},
	{"publishing again with an empty status makes it fulfilled", upsertStatus},
	{"the last duplicate of a batch wins", lastDuplicateWins},
	{"two producers may publish the same kind and name", twoProducers},
	{"a reader sees all of a batch or nothing", atomicBatch},
	{"publishing one contract is publishing a batch of one", singleIsBatchOfOne},
	{"contracts are listed in the order of their ids", contractsInOrder},
	{"claims are listed in the byte order of their paths", claimsInOrder},
	{"paths are kept as they are given", pathsAsGiven},
	{"long lists are returned whole", longLists},
	{"claiming a file again succeeds", claimAgain},
	{"a file has one owner, which the error of another claim names", conflict},
	{"a released file can be claimed by another", releaseFrees},
	{"releasing frees only the phase's own files", releaseOwnOnly},
	{"if many phases claim a file at once, exactly one gets it", claimRace},
	{"another handle sees each write that has returned", otherHandleSees},
	{"one handle serves many goroutines", manyGoroutines},
	{"with a cancelled context, calls fail with context.Canceled", cancelled},
	{"after the deadline, calls fail with context.DeadlineExceeded", pastDeadline},
	{"a write with a cancelled context changes nothing", cancelledWrite},
	{"closing a handle leaves the board and other handles open", closing},
}

// suite is one test of a board, with its first handle.
type suite struct {
	*testing.T
	ctx   context.Context
	open  Open
	board board.Board
}

func missing(s *suite) {
	state, err := s.board.GetPhaseState(s.ctx, "nobody")
	s.equal("state of an unknown phase", state, "", err)
	owner, err := s.board.FileOwner(s.ctx, "nothing.go")
	s.equal("owner of an unclaimed file", owner, "", err)
	contracts, err := s.board.ContractsFor(s.ctx, "nobody")
	s.equal("contracts of an unknown phase", len(contracts), 0, err)
	contracts, err = s.board.AllContracts(s.ctx)
	s.equal("contracts of an empty board", len(contracts), 0, err)
	claims, err := s.board.ClaimsFor(s.ctx, "nobody")
	s.equal("claims of an unknown phase", len(claims), 0, err)
}

func emptyWrites(s *suite) {
	s.ok(s.board.PublishContracts(s.ctx, nil))
	s.ok(s.board.PublishContracts(s.ctx, []board.Contract{}))
	s.ok(s.board.ReleaseClaims(s.ctx, "nobody"))
}

func anyTransition(s *suite) {
	all := []string{
		board.StateQueued, board.StatePolling, board.StateRunning, board.StateBlocked,
		board.StateDone, board.StateFailed, board.StateHumanDecision, board.StateDecomposed,
	}
	for _, from := range all {
		for _, to := range all {
			s.ok(s.board.SetPhaseState(s.ctx, "p", from))
			s.ok(s.board.SetPhaseState(s.ctx, "p", to))
			state, err := s.board.GetPhaseState(s.ctx, "p")
			s.equal("state after "+from, state, to, err)
		}
	}
}

func lastStateWins(s *suite) {
	s.ok(s.board.SetPhaseState(s.ctx, "p", board.StateDone))
	s.ok(s.board.SetPhaseState(s.ctx, "q", board.StateFailed))
	s.ok(s.board.SetPhaseState(s.ctx, "p", board.StateQueued))
	state, err := s.board.GetPhaseState(s.ctx, "p")
	s.equal("state of p", state, board.StateQueued, err)
	state, err = s.board.GetPhaseState(s.ctx, "q")
	s.equal("state of q", state, board.StateFailed, err)
}

func everyKindAndStatus(s *suite) {
	var published []board.Contract
	for _, kind := range []string{
		board.KindType, board.KindFunction, board.KindInterface,
		board.KindMethod, board.KindPackage, board.KindFile,
	} {
		for _, status := range []string{board.StatusFulfilled, board.StatusDisputed, board.StatusPending} {
			published = append(published, board.Contract{Producer: "p", Kind: kind, Name: status, Status: status})
		}
	}
	s.ok(s.board.PublishContracts(s.ctx, published))
	s.equal("contracts", withoutAssigned(s.allContracts()), published, nil)
}

func emptyStatus(s *suite) {
	s.ok(s.board.PublishContract(s.ctx, board.Contract{Producer: "p", Kind: board.KindType, Name: "T"}))
	s.equal("status", s.allContracts()[0].Status, board.StatusFulfilled, nil)
}

func emptySignatureAndPackage(s *suite) {
	file := board.Contract{Producer: "p", Kind: board.KindFile, Name: "main.go", Status: board.StatusFulfilled}
	s.ok(s.board.PublishContract(s.ctx, file))
	s.equal("contracts", withoutAssigned(s.allContracts()), []board.Contract{file}, nil)
}

func contractText(s *suite) {
	method := board.Contract{
		Producer:  "phase ünï",
		Kind:      board.KindMethod,
		Name:      `(*T).Do"it'`,
		Signature: "func (t *T) Do() (\n\terr error, // 100 % – 世界\r\n)",
		Package:   "internal/a b",
		Status:    board.StatusPending,
	}
	s.ok(s.board.PublishContract(s.ctx, method))
	s.equal("contracts", withoutAssigned(s.allContracts()), []board.Contract{method}, nil)
}

func upsert(s *suite) {
	key := board.Contract{Producer: "p", Kind: board.KindFunction, Name: "F"}
	first := key
	first.Signature, first.Package, first.Status = "func F()", "a", board.StatusPending
	s.ok(s.board.PublishContract(s.ctx, first))
	before := s.allContracts()[0]
	second := key
	second.Signature, second.Package, second.Status = "func F() error", "b", board.StatusDisputed
	s.ok(s.board.PublishContract(s.ctx, second))
	s.equal("contracts", withoutAssigned(s.allContracts()), []board.Contract{second}, nil)
	after := s.allContracts()[0]
	s.equal("id", after.ID, before.ID, nil)
	s.equal("creation time", after.CreatedAt, before.CreatedAt, nil)
	if age := time.Since(after.CreatedAt); age < -time.Minute || age > time.Minute {
		s.Errorf("creation time %v is not now in UTC", after.CreatedAt)
	}
}

func upsertStatus(s *suite) {
	c := board.Contract{Producer: "p", Kind: board.KindType, Name: "T", Status: board.StatusDisputed}
	s.ok(s.board.PublishContract(s.ctx, c))
	c.Status = ""
	s.ok(s.board.PublishContract(s.ctx, c))
	s.equal("status", s.allContracts()[0].Status, board.StatusFulfilled, nil)
}

func lastDuplicateWins(s *suite) {
	first := board.Contract{Producer: "p", Kind: board.KindType, Name: "T", Signature: "type T int", Status: board.StatusFulfilled}
	other := board.Contract{Producer: "p", Kind: board.KindFile, Name: "t.go", Status: board.StatusFulfilled}
	last := first
	last.Signature = "type T string"
	s.ok(s.board.PublishContracts(s.ctx, []board.Contract{first, other, last}))
	contracts := withoutAssigned(s.allContracts())
	s.equal("number of contracts", len(contracts), 2, nil)
	if !slices.Contains(contracts, last) || !slices.Contains(contracts, other) {
		s.Errorf("got %+v, want the last duplicate and the other contract", contracts)
	}
}

func twoProducers(s *suite) {
	a := board.Contract{Producer: "a", Kind: board.KindType, Name: "T", Signature: "type T int", Status: board.StatusFulfilled}
	b := a
	b.Producer, b.Signature = "b", "type T string"
	s.ok(s.board.PublishContract(s.ctx, a))
	s.ok(s.board.PublishContract(s.ctx, b))
	s.equal("contracts", withoutAssigned(s.allContracts()), []board.Contract{a, b}, nil)
	of, err := s.board.ContractsFor(s.ctx, "b")
	s.equal("contracts of b", withoutAssigned(of), []board.Contract{b}, err)
}

func atomicBatch(s *suite) {
	batch := make([]board.Contract, 50)
	publish := func(signature string) {
		for i := range batch {
			batch[i] = board.Contract{Producer: "p", Kind: board.KindType, Name: fmt.Sprint("T", i), Signature: signature}
		}
		s.ok(s.board.PublishContracts(s.ctx, batch))
	}
	publish("v0")
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		reader := s.open()
		readers.Go(func() {
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				contracts, err := reader.ContractsFor(s.ctx, "p")
				s.equal("contracts in a batch", len(contracts), len(batch), err)
				for _, c := range contracts {
					if c.Signature != contracts[0].Signature {
						s.Errorf("saw half a batch: %s beside %s", c.Signature, contracts[0].Signature)
						return
					}
				}
			}
		})
	}
	for version := range 30 {
		publish(fmt.Sprint("v", version+1))
	}
	close(done)
	readers.Wait()
}

func singleIsBatchOfOne(s *suite) {
	c := board.Contract{Producer: "p", Kind: board.KindInterface, Name: "I", Signature: "type I interface{}"}
	s.ok(s.board.PublishContract(s.ctx, c))
	one := s.allContracts()
	s.ok(s.board.PublishContracts(s.ctx, []board.Contract{c}))
	s.equal("contracts", s.allContracts(), one, nil)
}

func contractsInOrder(s *suite) {
	for _, name := range []string{"z", "a", "m", "Z"} {
		for _, producer := range []string{"q", "p"} {
			s.ok(s.board.PublishContract(s.ctx, board.Contract{Producer: producer, Kind: board.KindType, Name: name}))
		}
	}
	s.ok(s.board.PublishContract(s.ctx, board.Contract{Producer: "q", Kind: board.KindType, Name: "z", Signature: "again"}))
	all := s.allContracts()
	s.equal("number of contracts", len(all), 8, nil)
	of, err := s.board.ContractsFor(s.ctx, "p")
	s.equal("number of contracts of p", len(of), 4, err)
	for _, list := range [][]board.Contract{all, of} {
		if !slices.IsSortedFunc(list, func(a, b board.Contract) int { return int(a.ID - b.ID) }) {
			s.Errorf("not in the order of ids: %+v", list)
		}
	}
	s.equal("first published", all[0].Name, "z", nil)
}

func claimsInOrder(s *suite) {
	paths := []string{"b", "a/z", "a.go", "B", "ä", "a", "a-b", "a/", "Z/1", "世界.go", "a b"}
	for _, path := range paths {
		s.ok(s.board.ClaimFile(s.ctx, path, "p"))
	}
	slices.Sort(paths) // Go compares strings byte by byte
	claims, err := s.board.ClaimsFor(s.ctx, "p")
	s.equal("claims", claims, paths, err)
}

func pathsAsGiven(s *suite) {
	paths := []string{"a/b.go", "./a/b.go", "a//b.go", "a/../a/b.go", "/a/b.go", "A/b.go", "a/b.go ", " a/b.go", `a\b.go`, "a/b.go\n"}
	for _, path := range paths {
		s.ok(s.board.ClaimFile(s.ctx, path, "owner of "+path[:1]))
	}
	for _, path := range paths {
		owner, err := s.board.FileOwner(s.ctx, path)
		s.equal(fmt.Sprintf("owner of %q", path), owner, "owner of "+path[:1], err)
	}
}

func longLists(s *suite) {
	const many = 2345
	contracts := make([]board.Contract, many)
	for i := range contracts {
		contracts[i] = board.Contract{Producer: "p", Kind: board.KindType, Name: fmt.Sprint("T", i), Status: board.StatusFulfilled}
	}
	s.ok(s.board.PublishContracts(s.ctx, contracts))
	s.equal("all contracts", withoutAssigned(s.allContracts()), contracts, nil)
	of, err := s.board.ContractsFor(s.ctx, "p")
	s.equal("contracts of p", withoutAssigned(of), contracts, err)
	var claimants sync.WaitGroup
	paths := make([]string, 1111)
	for i := range paths {
		paths[i] = fmt.Sprintf("%04d.go", i)
	}
	for chunk := range slices.Chunk(paths, 100) {
		claimants.Go(func() {
			for _, path := range chunk {
				s.ok(s.board.ClaimFile(s.ctx, path, "p"))
			}
		})
	}
	claimants.Wait()
	claims, err := s.board.ClaimsFor(s.ctx, "p")
	s.equal("claims of p", claims, paths, err)
}

func claimAgain(s *suite) {
	s.ok(s.board.ClaimFile(s.ctx, "f.go", "p"))
	s.ok(s.board.ClaimFile(s.ctx, "f.go", "p"))
	claims, err := s.board.ClaimsFor(s.ctx, "p")
	s.equal("claims", claims, []string{"f.go"}, err)
}

func conflict(s *suite) {
	s.ok(s.board.ClaimFile(s.ctx, "internal/f.go", "p"))
	err := s.board.ClaimFile(s.ctx, "internal/f.go", "q")
	if !errors.Is(err, board.ErrFileAlreadyClaimed) {
		s.Fatalf("got %v, want ErrFileAlreadyClaimed", err)
	}
	want := `file already claimed by another phase: "internal/f.go" owned by "p"`
	s.equal("text of the conflict", err.Error(), want, nil)
	owner, err := s.board.FileOwner(s.ctx, "internal/f.go")
	s.equal("owner", owner, "p", err)
	claims, err := s.board.ClaimsFor(s.ctx, "q")
	s.equal("claims of the phase that was refused", len(claims), 0, err)
}

func releaseFrees(s *suite) {
	s.ok(s.board.ClaimFile(s.ctx, "f.go", "p"))
	s.ok(s.board.ReleaseClaims(s.ctx, "p"))
	owner, err := s.board.FileOwner(s.ctx, "f.go")
	s.equal("owner after release", owner, "", err)
	s.ok(s.board.ClaimFile(s.ctx, "f.go", "q"))
	owner, err = s.board.FileOwner(s.ctx, "f.go")
	s.equal("owner", owner, "q", err)
}

func releaseOwnOnly(s *suite) {
	s.ok(s.board.ClaimFile(s.ctx, "f.go", "p"))
	s.ok(s.board.ClaimFile(s.ctx, "g.go", "p"))
	s.ok(s.board.ClaimFile(s.ctx, "h.go", "q"))
	s.ok(s.board.ReleaseClaims(s.ctx, "p"))
	claims, err := s.board.ClaimsFor(s.ctx, "p")
	s.equal("claims of p", len(claims), 0, err)
	claims, err = s.board.ClaimsFor(s.ctx, "q")
	s.equal("claims of q", claims, []string{"h.go"}, err)
}

func claimRace(s *suite) {
	winners := make(chan string, 16)
	var racers sync.WaitGroup
	for i := range cap(winners) {
		phase := fmt.Sprint("phase-", i)
		racers.Go(func() {
			err := s.board.ClaimFile(s.ctx, "f.go", phase)
			if err == nil {
				winners <- phase
			} else if !errors.Is(err, board.ErrFileAlreadyClaimed) {
				s.Errorf("%s: %v", phase, err)
			}
		})
	}
	racers.Wait()
	s.equal("winners", len(winners), 1, nil)
	owner, err := s.board.FileOwner(s.ctx, "f.go")
	s.equal("owner", owner, <-winners, err)
}

func otherHandleSees(s *suite) {
	other := s.open()
	for i := range 20 {
		phase, path := fmt.Sprint("p", i), fmt.Sprint(i, ".go")
		s.ok(s.board.SetPhaseState(s.ctx, phase, board.StateRunning))
		state, err := other.GetPhaseState(s.ctx, phase)
		s.equal("state", state, board.StateRunning, err)
		s.ok(s.board.ClaimFile(s.ctx, path, phase))
		owner, err := other.FileOwner(s.ctx, path)
		s.equal("owner", owner, phase, err)
		s.ok(s.board.PublishContract(s.ctx, board.Contract{Producer: phase, Kind: board.KindFile, Name: path}))
		contracts, err := other.ContractsFor(s.ctx, phase)
		s.equal("contracts", len(contracts), 1, err)
		s.ok(s.board.ReleaseClaims(s.ctx, phase))
		owner, err = other.FileOwner(s.ctx, path)
		s.equal("owner after release", owner, "", err)
	}
}

func manyGoroutines(s *suite) {
	var workers sync.WaitGroup
	for i := range 16 {
		phase, path := fmt.Sprint("p", i), fmt.Sprint(i, ".go")
		workers.Go(func() {
			for round := range 10 {
				s.ok(s.board.SetPhaseState(s.ctx, phase, board.StateRunning))
				s.ok(s.board.ClaimFile(s.ctx, path, phase))
				s.ok(s.board.PublishContract(s.ctx, board.Contract{
					Producer: phase, Kind: board.KindFunction, Name: fmt.Sprint("F", round), Signature: phase,
				}))
				_, err := s.board.AllContracts(s.ctx)
				s.ok(err)
				s.ok(s.board.SetPhaseState(s.ctx, phase, board.StateDone))
				state, err := s.board.GetPhaseState(s.ctx, phase)
				s.equal("state", state, board.StateDone, err)
				s.ok(s.board.ReleaseClaims(s.ctx, phase))
			}
		})
	}
	workers.Wait()
	s.equal("contracts", len(s.allContracts()), 160, nil)
}

func cancelled(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	s.everyMethodFails(ctx, context.Canceled)
}

func pastDeadline(s *suite) {
	ctx, cancel := context.WithDeadline(s.ctx, time.Now().Add(-time.Second))
	defer cancel()
	s.everyMethodFails(ctx, context.DeadlineExceeded)
}

func cancelledWrite(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_ = s.board.SetPhaseState(ctx, "p", board.StateDone)
	_ = s.board.ClaimFile(ctx, "f.go", "p")
	_ = s.board.PublishContracts(ctx, []board.Contract{{Producer: "p", Kind: board.KindType, Name: "T"}})
	state, err := s.board.GetPhaseState(s.ctx, "p")
	s.equal("state", state, "", err)
	owner, err := s.board.FileOwner(s.ctx, "f.go")
	s.equal("owner", owner, "", err)
	s.equal("contracts", len(s.allContracts()), 0, nil)
}

func closing(s *suite) {
	s.ok(s.board.SetPhaseState(s.ctx, "p", board.StateDone))
	other := s.open()
	s.ok(other.Close())
	s.ok(other.Close())
	if _, err := other.GetPhaseState(s.ctx, "p"); err == nil {
		s.Error("a call on a closed handle succeeded")
	}
	state, err := s.open().GetPhaseState(s.ctx, "p")
	s.equal("state", state, board.StateDone, err)
}

func (s *suite) everyMethodFails(ctx context.Context, want error) {
	s.Helper()
	_, getPhaseState := s.board.GetPhaseState(ctx, "p")
	_, contractsFor := s.board.ContractsFor(ctx, "p")
	_, allContracts := s.board.AllContracts(ctx)
	_, fileOwner := s.board.FileOwner(ctx, "f.go")
	_, claimsFor := s.board.ClaimsFor(ctx, "p")
	contract := board.Contract{Producer: "p", Kind: board.KindType, Name: "T"}
	for method, err := range map[string]error{
		"SetPhaseState":    s.board.SetPhaseState(ctx, "p", board.StateDone),
		"GetPhaseState":    getPhaseState,
		"PublishContract":  s.board.PublishContract(ctx, contract),
		"PublishContracts": s.board.PublishContracts(ctx, []board.Contract{contract}),
		"ContractsFor":     contractsFor,
		"AllContracts":     allContracts,
		"ClaimFile":        s.board.ClaimFile(ctx, "f.go", "p"),
		"ReleaseClaims":    s.board.ReleaseClaims(ctx, "p"),
		"FileOwner":        fileOwner,
		"ClaimsFor":        claimsFor,
	} {
		if !errors.Is(err, want) {
			s.Errorf("%s: got %v, want %v", method, err, want)
		}
	}
}

func (s *suite) allContracts() []board.Contract {
	s.Helper()
	contracts, err := s.board.AllContracts(s.ctx)
	if err != nil {
		s.Fatalf("AllContracts: %v", err)
	}
	return contracts
}

// withoutAssigned returns the contracts without the fields that the board assigns.
func withoutAssigned(contracts []board.Contract) []board.Contract {
	bare := slices.Clone(contracts)
	for i := range bare {
		bare[i].ID, bare[i].CreatedAt = 0, time.Time{}
	}
	return bare
}

func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		s.Errorf("unexpected error: %v", err)
	}
}

func (s *suite) equal(what string, got, want any, err error) {
	s.Helper()
	s.ok(err)
	if !reflect.DeepEqual(got, want) {
		s.Errorf("%s: got %s, want %s", what, short(got), short(want))
	}
}

func short(value any) string {
	const most = 500
	text := fmt.Sprintf("%+v", value)
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}
