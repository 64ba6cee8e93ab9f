package cli

import (
	"fmt"
	"os"

	"github.com/multicast-upgrade/tool/manifest"
)

// ReadDocument reads a signed document of a kind, which nothing is known of yet but that it is not too long for one.
func ReadDocument(path, kind string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", path)
	case info.Size() > most:
		return nil, fmt.Errorf("%s: %w: %s has at most %d bytes", path, manifest.ErrTooLarge, kind, most)
	}
	return os.ReadFile(path)
}

// LoadPublicKeys reads files with a public key each, all of a role.
func LoadPublicKeys(paths []string, role manifest.Role) (keys []manifest.PublicKey, err error) {
	for _, path := range paths {
		key, err := manifest.LoadPublicKey(path, role)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
