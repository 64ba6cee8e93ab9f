//go:build !unix

package pgtest

import (
	"errors"
	"syscall"
)

func unprivileged(string) (*syscall.SysProcAttr, error) {
	_, _, err := owner()
	return nil, errors.Join(errors.New("no PostgreSQL is started here"), err)
}
