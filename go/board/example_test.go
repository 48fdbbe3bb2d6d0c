package board_test

import (
	"context"
	"fmt"

	"github.com/papapumpkin/quasar-board/go/board"
)

func ExampleWithTokenFile() {
	ctx := context.Background()
	b, err := board.Dial(ctx, "board.example:7447",
		board.WithBoard("my-nebula"),
		board.WithCA("/etc/board/ca.pem"),
		board.WithTokenFile("/run/secrets/board-token"))
	if err != nil {
		fmt.Println(err) // one line that says what to do
		return
	}
	defer b.Close()
}

func ExampleFromEnvironment() {
	ctx := context.Background()
	b, err := board.Dial(ctx, "", board.FromEnvironment())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
}
