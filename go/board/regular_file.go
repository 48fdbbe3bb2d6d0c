package board

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxFile is the size in bytes of the largest file that readFile reads.
const maxFile = 4 << 20

// readFile reads a regular file of at most maxFile bytes. It refuses anything else
// without waiting: a FIFO may never get a writer, and a device may never end.
func readFile(path string) ([]byte, error) {
	refused := func(why error) error { return &fs.PathError{Op: "read", Path: path, Err: why} }
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, refused(errors.New("not a regular file"))
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = refused(fmt.Errorf("larger than %d bytes", maxFile))
	}
	return content, err
}
