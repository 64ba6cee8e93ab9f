//go:build unix

package manifest

import (
	"fmt"
	"os"
)

// checkExposure refuses a private key that group or world may touch.
func checkExposure(info os.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%w (mode %04o), run chmod 600 on it", ErrKeyExposed, mode)
	}
	return nil
}
