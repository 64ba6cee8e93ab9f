package interop

import (
	"path/filepath"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
)

// A recording is an exchange between two nodes of NRL's implementation: what arrived at its first receiver, and what that
// receiver said. TestRecord makes it, TestReplay plays it to ours.
type recording struct {
	name    string
	code    fec.Params
	objects []object
}

func (r recording) path() string { return filepath.Join("testdata", "recordings", r.name+".pcapng") }

// recordings are all of them. They are small, as they stand in the repository.
var recordings = []recording{
	{"id5", fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 64, MaxBlockLen: 16, MaxParity: 8}, few},
	{"id5-no-parity", fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 64, MaxBlockLen: 16}, few},
	{"id5-short-blocks", fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 64, MaxBlockLen: 64, MaxParity: 16}, hundred},
	{"id129", fec.Params{ID: fec.SmallBlockSystematic, SegmentSize: 64, MaxBlockLen: 16, MaxParity: 8}, few},
	{"id129-short-blocks", fec.Params{ID: fec.SmallBlockSystematic, SegmentSize: 64, MaxBlockLen: 64, MaxParity: 16}, hundred},
	{"id2-m8", fec.Params{ID: fec.ReedSolomon, M: 8, SegmentSize: 64, MaxBlockLen: 16, MaxParity: 8}, few},
	{"id2-m16", fec.Params{ID: fec.ReedSolomon, M: 16, SegmentSize: 64, MaxBlockLen: 250, MaxParity: 10}, few},
	{"acknowledged", fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 64, MaxBlockLen: 16, MaxParity: 8}, few},
	{"unicast-feedback", fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 64, MaxBlockLen: 16, MaxParity: 8}, few},
	{"stream", fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 64, MaxBlockLen: 16, MaxParity: 8}, []object{messages(60, []int{3, 64, 65, 40, 192, 20})}},
	{"congestion-control", fec.Params{ID: fec.ReedSolomonGF8, SegmentSize: 64, MaxBlockLen: 16, MaxParity: 8}, few},
}

var (
	few     = []object{{kind: norm.File, info: "a/file", content: content(50*64+1, 1)}, {kind: norm.Data, info: "only INFO"}, {kind: norm.Data, content: content(1, 2)}, {kind: norm.Data, info: "x", content: content(16*64, 3)}}
	hundred = []object{{kind: norm.Data, info: "two short blocks", content: content(100*64-3, 4)}}
)
