package cli

import (
	"fmt"
	"os"

	"github.com/multicast-upgrade/tool/norm/session"
	"github.com/multicast-upgrade/tool/norm/trace"
	"github.com/spf13/cobra"
)

// A Trace is the flags --trace and --trace-limit.
type Trace struct {
	file  string
	limit Size
}

// Register adds the flags to a command.
func (t *Trace) Register(c *cobra.Command) {
	t.limit = trace.DefaultSize
	c.Flags().StringVar(&t.file, "trace", "", "write all datagrams and events to this pcapng `file`, for normrecv dump or Wireshark")
	c.Flags().Var(&t.limit, "trace-limit", "let that file grow to so many bytes")
}

// Start begins the file, if there is to be one; else the Tracer is nil. stop completes it, and tells p what is missing.
func (t *Trace) Start(p *Progress) (tracer session.Tracer, stop func(), err error) {
	if t.file == "" {
		return nil, func() {}, nil
	}
	if t.limit <= 0 {
		return nil, nil, fmt.Errorf("--trace-limit %d: want more than nothing", t.limit)
	}
	file, err := os.Create(t.file)
	if err != nil {
		return nil, nil, err
	}
	r := trace.NewRecorder(file, trace.Limits{Size: int64(t.limit)})
	return r, func() {
		if err := r.Close(); err != nil {
			p.Line("the trace %s is not complete: %v", t.file, err)
		}
	}, nil
}
