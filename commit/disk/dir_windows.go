package disk

import (
	"os"

	"golang.org/x/sys/windows"
)

// syncDir does nothing: Windows has no call that syncs a directory. NTFS writes name changes to its journal in order,
// so after a power cut the latest may be missing, but none is half done.
func syncDir(*os.File) error { return nil }

func freeSpace(root *os.Root) (int64, error) {
	dir, err := windows.UTF16PtrFromString(root.Name())
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(dir, &free, nil, nil); err != nil {
		return 0, os.NewSyscallError("GetDiskFreeSpaceEx", err)
	}
	return int64(free), nil
}
