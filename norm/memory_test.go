package norm_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
	"github.com/multicast-upgrade/tool/norm/normtest"
)

// heads is a file of which only the first bytes of each segment are kept, as a receiver with such a [norm.Memory] writes it.
type heads struct {
	normtest.Memory
	segment, keep int64
}

func (f heads) ReadAt(p []byte, off int64) (int, error) {
	return f.Memory.ReadAt(p, off/f.segment*f.keep)
}

func (f heads) WriteAt(p []byte, off int64) (int, error) {
	return f.Memory.WriteAt(p, off/f.segment*f.keep)
}

// TestKeptHeads holds that receivers which keep the first bytes of each symbol do what those do which keep all, to the last
// datagram, whatever the code, with a memory that three of them share and that blocks are spilled from.
func TestKeptHeads(t *testing.T) {
	const segment, k, keep, size = 100, 8, 6, 40*8*100 - 97 // the last segment is shorter than what is kept
	for _, code := range []fec.Params{
		{ID: fec.ReedSolomonGF8, MaxBlockLen: k, MaxParity: 4},
		{ID: fec.ReedSolomonGF8, MaxBlockLen: k, MaxParity: 4, Dialect: fec.NRL},
		{ID: fec.ReedSolomon, M: 16, MaxBlockLen: k, MaxParity: 4},
		{ID: fec.NoCode, MaxBlockLen: k},
	} {
		run := func(keep int) (sent []string, written [][]byte, spilled uint64) {
			net := normtest.New(5)
			s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{Delay: time.Millisecond}, norm.SenderConfig{
				Node: 1, Rate: 1e6, GRTT: 50 * time.Millisecond, SegmentSize: segment, GroupSize: 10, FEC: code,
			})
			if err != nil {
				t.Fatal(err)
			}
			width := segment
			if keep > 0 {
				width = keep
			}
			memory, err := norm.NewMemory(12*k*width, keep)
			if err != nil {
				t.Fatal(err)
			}
			group := make([]*normtest.Receiver, 3)
			for i := range group {
				group[i], err = net.AddReceiver(fmt.Sprint("r", i), nil, normtest.Link{},
					normtest.Link{Delay: time.Millisecond, Loss: normtest.Random(0.2)},
					norm.ReceiverConfig{Node: norm.NodeID(i + 2), Seed: uint64(i), Memory: memory})
				if err != nil {
					t.Fatal(err)
				}
				group[i].Create = func(o norm.ReceivedObject) normtest.File {
					whole := (o.Size + segment - 1) / segment
					return heads{make(normtest.Memory, whole*int64(width)), segment, int64(width)}
				}
			}
			net.OnSend = func(p *normtest.Packet) { sent = append(sent, fmt.Sprint(net.Elapsed(), p.From.Name, p)) }
			if _, _, err := s.Send(norm.Object{Size: size}, nil); err != nil {
				t.Fatal(err)
			}
			done := net.RunUntil(time.Minute, func() bool {
				return group[0].Completed()+group[1].Completed()+group[2].Completed() == 3
			})
			if !done {
				t.Fatalf("%v: not complete with %d bytes kept", code, keep)
			}
			for _, r := range group {
				written = append(written, r.Object(1, 0).File.(heads).Memory)
				spilled += r.Core.Stats().Spilled
			}
			return sent, written, spilled
		}
		whole, files, spilled := run(0)
		short, kept, _ := run(keep)
		if spilled == 0 {
			t.Errorf("%v: nothing was spilled", code)
		}
		for i, line := range whole {
			if i >= len(short) || short[i] != line {
				t.Fatalf("%v: datagram %d of %d and %d differs, want %s", code, i, len(whole), len(short), line)
			}
		}
		for i := range files {
			for n := 0; n*segment < size; n++ {
				want := files[i][n*segment : min(n*segment+keep, size)]
				if got := kept[i][n*keep:][:len(want)]; !bytes.Equal(got, want) {
					t.Fatalf("%v: receiver %d has %x of segment %d, want %x", code, i, got, n, want)
				}
			}
		}
	}
}

func TestMemoryRefusesWhatCannotWork(t *testing.T) {
	for _, m := range []struct{ limit, keep int }{{0, 0}, {-1, 0}, {100, -2}, {100, 7}} {
		if _, err := norm.NewMemory(m.limit, m.keep); err == nil {
			t.Errorf("%+v: no error", m)
		}
	}
}
