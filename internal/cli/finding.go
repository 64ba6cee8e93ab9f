package cli

import (
	"fmt"
	"io"
)

// Finding prints what a check of the doctor came to, and below it what to do, if anything is.
func Finding(w io.Writer, verdict, check, seen, remedy string) {
	fmt.Fprintf(w, "%-8s %-22s %s\n", verdict, check, seen)
	if remedy != "" {
		fmt.Fprintf(w, "%-8s %-22s -> %s\n", "", "", remedy)
	}
}
