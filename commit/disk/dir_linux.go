package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropCache drops clean pages only, so the caller has synced before.
func dropCache(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var advice error
	err = conn.Control(func(fd uintptr) {
		advice = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("posix_fadvise", advice)
}
