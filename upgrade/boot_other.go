//go:build !linux && !darwin && !windows

package upgrade

import "errors"

func bootID() (string, error) { return "", errors.ErrUnsupported }
