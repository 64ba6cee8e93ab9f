package cli

import (
	"fmt"
	"os"

	"github.com/multicast-upgrade/tool/manifest"
)

// ReadRoot reads a root document, which nothing is known of yet but that it is not too long for one.
func ReadRoot(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", path)
	case info.Size() > manifest.MaxRoot:
		return nil, fmt.Errorf("%s: %w: a root document has at most %d bytes", path, manifest.ErrTooLarge, manifest.MaxRoot)
	}
	return os.ReadFile(path)
}

// ReadRoots reads the root documents given by --root, nil if none are.
func ReadRoots(paths []string) (*manifest.RootChain, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	var all [][]byte
	for _, path := range paths {
		signed, err := ReadRoot(path)
		if err != nil {
			return nil, err
		}
		all = append(all, signed)
	}
	chain, err := manifest.OpenRootChain(all...)
	if err != nil {
		return nil, fmt.Errorf("--root: %w", err)
	}
	return chain, nil
}
