package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/session"
)

// A fileAcks asks the nodes of --ack for acknowledgment of each file that was sent, one file after the other. The zero
// value asks nobody.
type fileAcks struct {
	nodes   []norm.NodeID // those that are to acknowledge
	silent  []norm.NodeID // those of them that did not answer for one file, and are not waited for with later ones
	waiting []sentFile    // not asked for yet
	asking  *sentFile
	got     []norm.NodeID // that acknowledged the one asked for
	missed  int           // files that were not acknowledged by all
}

// A sentFile is a file that was sent.
type sentFile struct {
	handle norm.Handle
	name   string
}

// parseNodes reads the node ids of a flag.
func parseNodes(flag string, ids []string) (nodes []norm.NodeID, err error) {
	for _, s := range ids {
		id, err := strconv.ParseUint(strings.TrimSpace(s), 0, 32)
		if err != nil || id == 0 || id == math.MaxUint32 {
			return nil, fmt.Errorf("%s: %q is no node id; want what receivers have by normrecv --node-id, 1 to %d, separated by commas",
				flag, s, uint32(math.MaxUint32-1))
		}
		if !slices.Contains(nodes, norm.NodeID(id)) {
			nodes = append(nodes, norm.NodeID(id))
		}
	}
	return nodes, nil
}

// pending reports whether a file waits for its acknowledgments.
func (a *fileAcks) pending() bool { return a.asking != nil || len(a.waiting) > 0 }

// askNext asks for the acknowledgments of the next file, unless another is being asked for.
func (f *fileSender) askNext(ctx context.Context, s *session.Session) error {
	a := &f.acks
	for a.asking == nil && len(a.waiting) > 0 {
		a.asking, a.waiting, a.got = &a.waiting[0], a.waiting[1:], nil
		nodes := slices.DeleteFunc(slices.Clone(a.nodes), func(id norm.NodeID) bool { return slices.Contains(a.silent, id) })
		if len(nodes) == 0 {
			f.settleAcks()
			continue
		}
		if _, err := s.SetWatermark(ctx, norm.Watermark{Object: a.asking.handle, Nodes: nodes, OverridesFlush: true}); err != nil {
			return err
		}
	}
	return nil
}

// settleAcks tells who has acknowledged the file that was asked for, and who has not.
func (f *fileSender) settleAcks() {
	a := &f.acks
	missing := slices.DeleteFunc(slices.Clone(a.nodes), func(id norm.NodeID) bool { return slices.Contains(a.got, id) })
	slices.Sort(a.got)
	if len(a.got) > 0 {
		f.progress.Line("acknowledged: %s by %s", a.asking.name, join(a.got))
	}
	if len(missing) > 0 {
		a.missed++
		f.progress.Line("not acknowledged: %s by %s", a.asking.name, join(missing))
	}
	f.events.Emit("acknowledged", cli.Fields{"name": a.asking.name, "nodes": append([]norm.NodeID{}, a.got...), "missing": missing})
	a.asking = nil
}

// takeAck takes an event of the acknowledgments.
func (f *fileSender) takeAck(ctx context.Context, s *session.Session, e norm.Event) error {
	switch e.Kind {
	case norm.NodeAcknowledged:
		f.acks.got = append(f.acks.got, e.Node)
	case norm.NodeSilent:
		f.acks.silent = append(f.acks.silent, e.Node)
	case norm.AcksDone:
		f.settleAcks()
		return f.askNext(ctx, s)
	}
	return nil
}

// result is the error of files that were not acknowledged by all nodes, or nil.
func (a *fileAcks) result() error {
	if a.missed == 0 {
		return nil
	}
	return fmt.Errorf("not acknowledged by all nodes of --ack: %s", cli.Count(a.missed, "file"))
}

// join lists node ids, separated by commas.
func join(nodes []norm.NodeID) string {
	var b strings.Builder
	for i, id := range nodes {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprint(&b, id)
	}
	return b.String()
}
