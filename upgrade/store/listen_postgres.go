package store

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// listenPause is how long a connection that has failed is left alone, on average.
const listenPause = 2 * time.Second

// listenPostgres has a connection of its own, as those of a pool come and go. PostgreSQL tells it once what several
// transactions said.
func listenPostgres(ctx context.Context, cfg *pgx.ConnConfig, f func()) error {
	for {
		listenOnce(ctx, cfg, f)
		select {
		case <-time.After(listenPause/2 + rand.N(listenPause)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// listenOnce listens until the connection fails, or ctx ends.
func listenOnce(ctx context.Context, cfg *pgx.ConnConfig, f func()) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `LISTEN normsend`); err != nil {
		return
	}
	f() // for what was said before
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return
		}
		f()
	}
}
