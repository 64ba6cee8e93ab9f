package cli

import (
	"fmt"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm/auth"
)

// GroupAuth returns packet authentication by the group key in a file; nil if path is empty.
func GroupAuth(path string) (*auth.Config, error) {
	if path == "" {
		return nil, nil
	}
	key, err := manifest.LoadGroupKey(path)
	if err != nil {
		return nil, fmt.Errorf("--auth-key: %w", err)
	}
	return &auth.Config{Key: key[:]}, nil
}
