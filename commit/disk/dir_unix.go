//go:build unix

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

func syncDir(f *os.File) error { return f.Sync() }

func freeSpace(root *os.Root) (int64, error) {
	f, err := root.Open(".")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var st unix.Statfs_t
	var statfs error
	if err := conn.Control(func(fd uintptr) { statfs = unix.Fstatfs(int(fd), &st) }); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), os.NewSyscallError("fstatfs", statfs)
}
