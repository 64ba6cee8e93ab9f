package cli

import (
	"fmt"

	"github.com/multicast-upgrade/tool/manifest"
)

// ReadRoot reads a root document.
func ReadRoot(path string) ([]byte, error) {
	return ReadDocument(path, "a root document", manifest.MaxRoot)
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
