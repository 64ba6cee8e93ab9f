//go:build mips || mipsle || mips64 || mips64le

package store

import (
	"context"
	"errors"
	"runtime"
)

func openSQLite(context.Context, string) (*Store, error) {
	return nil, errors.New("this program has no SQLite on " + runtime.GOARCH + "; use postgres://, or run the server on another machine")
}
