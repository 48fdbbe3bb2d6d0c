package board

import (
	"crypto/rand"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// keyed holds the methods whose calls need an idempotency key to be retried, by
// their full names; all others may be repeated as they are. The proto says which:
// a write has no idempotency_level.
var keyed = keyedMethods()

func keyedMethods() map[string]bool {
	found := make(map[string]bool)
	service := boardv1.File_board_v1_board_proto.Services().ByName("BoardService")
	for i := range service.Methods().Len() {
		method := service.Methods().Get(i)
		options := method.Options().(*descriptorpb.MethodOptions)
		if options.GetIdempotencyLevel() == descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN {
			found[fmt.Sprintf("/%s/%s", service.FullName(), method.Name())] = true
		}
	}
	return found
}

// newRequestID returns a key that begins with the time, so that the board stores
// keys of the same time next to each other.
func newRequestID() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return fmt.Sprintf("%x-%x", time.Now().UnixNano(), random)
}
