package disk

import (
	"io"
	"os"
)

// OpenDevice opens what has a fixed size and a path of its own: a block device, or a file that stands for one. It is not made
// if it is not there. For writing, a block device is opened with O_EXCL, which on Linux fails with EBUSY while it is mounted.
func OpenDevice(path string, write bool) (File, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeDevice != 0 {
			flag |= os.O_EXCL
		}
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	return device{file{f}}, nil
}

// A device is a file whose size may be that of a block device, which only seeking tells.
type device struct{ file }

func (d device) Size() (int64, error) { return d.Seek(0, io.SeekEnd) }
