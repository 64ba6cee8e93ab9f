package pgtest

import (
	"testing"
)

// A package whose tests run twice in one process, as with -count 2, stops the server in between.
func TestStartsAgain(t *testing.T) {
	for range 2 {
		New(t)
		Exec(t, "SELECT 1")
		if err := Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
