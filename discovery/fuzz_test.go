package discovery

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/discovery/sdp"
	"github.com/multicast-upgrade/tool/manifest"
)

// FuzzNotice: what is read of a notice is the same when it is written and read again.
func FuzzNotice(f *testing.F) {
	f.Add(Notice{Manifest: []byte("m"), Session: []byte("s"), Decisions: [][]byte{[]byte("d")}, Brake: []byte("b"), Timestamp: []byte("t"), Seat: []byte("x"), Node: 7}.Encode())
	f.Add(Notice{}.Encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := ParseNotice(in)
		if err != nil {
			return
		}
		again, err := ParseNotice(n.Encode())
		if err != nil || !bytes.Equal(again.Encode(), n.Encode()) {
			t.Errorf("%+v became %+v, %v", n, again, err)
		}
	})
}

// FuzzAnnouncement: what is read of a session description says the same when it is announced again.
func FuzzAnnouncement(f *testing.F) {
	key := generate(f, manifest.RoleServer)
	for _, group := range []string{"239.1.2.3:6003", "[ff15::7]:6003"} {
		a := NewAnnouncement(testSession(group, 3), key.Public(), "router 2.1")
		a.GroupSize = 500
		text, err := a.Describe(netip.MustParseAddr("192.0.2.1")).AppendText(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := sdp.Parse(in)
		if err != nil {
			return
		}
		a, err := ParseAnnouncement(d)
		if err != nil {
			return
		}
		text, err := a.Describe(netip.MustParseAddr("192.0.2.1")).AppendText(nil)
		if err != nil {
			return // more than one of ours would say
		}
		d, err = sdp.Parse(text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if again, err := ParseAnnouncement(d); err != nil || !reflect.DeepEqual(again, a) {
			t.Errorf("%v: %+v became %+v, from %s", err, a, again, text)
		}
	})
}

// FuzzHandler: whatever is asked of the rendezvous, it is answered, and with no more than a problem if it is nonsense.
func FuzzHandler(f *testing.F) {
	hello, _ := encoding.Marshal(Hello{Device: "d", Product: "p", Hardware: "h"})
	for _, seed := range []struct {
		method, target string
		body           []byte
	}{
		{"GET", "/v1/notice?device=d&wait=1", nil}, {"POST", "/v1/hello", hello}, {"POST", "/v1/status", []byte{0xa0}}, {"POST", "/v1/vote", hello},
		{"POST", "/v1/outcome", nil}, {"POST", "/v1/groupkey", hello}, {"GET", "/v1/campaigns/ours/decision/0", nil},
		{"POST", "/v1/campaigns/ours/decision/4294967296", nil}, {"GET", "/v1/campaigns/ours/brake", nil}, {"GET", "/v1/campaigns/ours/objects/1", nil},
	} {
		f.Add(seed.method, seed.target, "bytes=1-2", seed.body)
	}
	f.Fuzz(func(t *testing.T, method, target, header string, body []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // a poll must not wait
		r, err := http.NewRequestWithContext(ctx, method, "http://rendezvous", bytes.NewReader(body))
		if err != nil {
			return
		}
		if r.URL, err = r.URL.Parse(target); err != nil {
			return
		}
		r.Header.Set("Range", header)
		r.Header.Set("If-None-Match", header)
		b := &backend{object: []byte("0123456789")}
		h := NewHandler(b)
		h.Publish(Notice{Manifest: []byte("m")})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if h.Waiting() != 0 || w.Code < 200 || w.Body.Len() > 4096+2*len(target) {
			t.Errorf("status %d with %d bytes, %d wait", w.Code, w.Body.Len(), h.Waiting())
		}
	})
}

// FuzzBoard posts, publishes and withdraws, and lets devices that have gone poll. Each device is told of the newest posting
// for it that announces anything, else of what is for everybody, and nothing is kept of what is over.
func FuzzBoard(f *testing.F) {
	f.Add([]byte("\x00\x03\x08\x00\x10\x01\x18\x00\x20\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		b := newBoard()
		b.everyone = &Posting{board: b}
		devices := [4]string{"a", "b", "c", ""}
		type posting struct {
			*Posting
			to uint8 // a bit for each device
			n  uint8 // what it announces; 0: nothing
		}
		var postings []posting
		everyone := uint8(0)
		for ; len(in) >= 2 && len(postings) < 20; in = in[2:] {
			op, arg := in[0]>>3, in[1]
			n := Notice{Manifest: []byte{arg | 1}}
			switch which := int(in[0] & 7); {
			case op%5 == 0:
				seats := map[string]Seat{}
				for i, d := range devices[:3] {
					if arg&(1<<i) != 0 {
						seats[d] = Seat{}
					}
				}
				postings = append(postings, posting{b.post(seats), arg & 7, 0})
			case op%5 == 1:
				b.everyone.Publish(n)
				everyone = arg | 1
			case op%5 == 4:
				b.wait(gone, devices[which&3], "", noETag, time.Minute, 0)
			case which >= len(postings):
			case op%5 == 2:
				if postings[which].to != 0 {
					postings[which].Publish(n)
					postings[which].n = arg | 1
				}
			case op%5 == 3:
				postings[which].Withdraw()
				postings[which].to, postings[which].n = 0, 0
			}
			for i, d := range devices {
				want := everyone
				for _, p := range postings {
					if p.to&(1<<i) != 0 && p.n != 0 {
						want = p.n
					}
				}
				now := b.current(d)
				got, etag := now.notice, now.etag
				if (got == nil) != (want == 0) || got != nil && got.Manifest[0] != want || (got == nil) != (etag == noETag) {
					t.Fatalf("%q is told %+v with %s, want %d", d, got, etag, want)
				}
			}
			if b.waiters != 0 || len(b.waiting) != 0 || b.wheel.count != 0 {
				t.Fatalf("%d wait, %d devices, %d in the wheel", b.waiters, len(b.waiting), b.wheel.count)
			}
		}
		for _, p := range postings {
			p.Withdraw()
		}
		if len(b.postings) != 0 {
			t.Errorf("%d devices have postings when all are withdrawn", len(b.postings))
		}
	})
}

// FuzzHints hears, learns and polls at any times. What is remembered is bounded, and polls for hints alone are a minute apart
// but for a few.
func FuzzHints(f *testing.F) {
	key := generate(f, manifest.RoleServer)
	f.Add([]byte("\x00\x01\x02\x00\x02\x02\x01\x01\x30"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h := NewHints(HintsConfig{Servers: func() []manifest.PublicKey { return []manifest.PublicKey{key.Public()} }})
		now := time.Date(2026, 12, 24, 2, 0, 0, 0, time.UTC)
		start := now
		for ; len(in) >= 3; in = in[3:] {
			now = now.Add(time.Duration(in[2]) * time.Second)
			s := testSession("239.1.2.3:6003", uint64(in[1]))
			s.Campaign[0] = in[1] >> 3
			switch in[0] % 4 {
			case 0, 1:
				a := NewAnnouncement(s, key.Public(), "x")
				a.GroupSize = uint32(in[0]) << 20
				h.Hear(now, a)
			case 2:
				h.Know(s)
			case 3:
				if at, due := h.next(); due && !now.Before(at) {
					h.polling(now)
				}
			}
			if len(h.known) > remembered || len(h.asked) > remembered || len(h.pending) > remembered {
				t.Fatalf("%d known, %d asked, %d pending", len(h.known), len(h.asked), len(h.pending))
			}
			if most := uint64(pollsAtOnce + now.Sub(start)/pollEvery); h.stats.Polls > most {
				t.Fatalf("%d polls in %v, want at most %d", h.stats.Polls, now.Sub(start), most)
			}
		}
	})
}
