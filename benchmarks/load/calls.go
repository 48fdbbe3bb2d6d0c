package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// dial opens a connection whose messages are bytes.
func dial(target string) (*grpc.ClientConn, error) {
	return grpc.NewClient(
		target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(asItIs{}), grpc.MaxCallRecvMsgSize(math.MaxInt32),
		),
		// Windows as large as the largest reply, so that no run measures their growth.
		grpc.WithInitialWindowSize(16<<20),
		grpc.WithInitialConnWindowSize(16<<20),
	)
}

// do makes the call and returns the size of the reply in bytes.
func (s *Step) do(ctx context.Context, conn *grpc.ClientConn, turn int) (int, error) {
	body := s.Bodies[turn%len(s.Bodies)]
	if s.Stream {
		return s.drain(ctx, conn, body)
	}
	var reply received
	if err := conn.Invoke(ctx, s.Method, body, &reply); err != nil {
		return 0, fmt.Errorf("%s: %w", s.Method, err)
	}
	return reply.size, nil
}

func (s *Step) drain(ctx context.Context, conn *grpc.ClientConn, body []byte) (int, error) {
	stream, err := open(ctx, conn, s.Method, body)
	if err != nil {
		return 0, err
	}
	size := 0
	for {
		var reply received
		switch err := stream.RecvMsg(&reply); {
		case errors.Is(err, io.EOF):
			return size, nil
		case err != nil:
			return 0, fmt.Errorf("%s: %w", s.Method, err)
		}
		size += reply.size
	}
}

func open(ctx context.Context, conn *grpc.ClientConn, method string, body []byte) (grpc.ClientStream, error) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err == nil {
		err = stream.SendMsg(body)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	return stream, nil
}

// received is a reply: its size, and its bytes if they are kept.
type received struct {
	keep  bool
	size  int
	bytes []byte
}

// asItIs is the codec for messages that are encoded already.
type asItIs struct{}

var _ encoding.CodecV2 = asItIs{}

func (asItIs) Name() string { return "proto" }

func (asItIs) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(message.([]byte))}, nil
}

func (asItIs) Unmarshal(data mem.BufferSlice, message any) error {
	reply := message.(*received)
	reply.size = data.Len()
	if reply.keep {
		reply.bytes = data.Materialize()
	}
	return nil
}
