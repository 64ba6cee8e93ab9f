package main

import (
	"log"
	"time"
)

// earlier returns the first of two deadlines, of which a zero one means that nothing is scheduled.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
