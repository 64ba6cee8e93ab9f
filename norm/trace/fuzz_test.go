package trace

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"testing"
)

// FuzzReader reads files and all that is in them: no file makes it panic, go on without end, or print what is no JSON.
func FuzzReader(f *testing.F) {
	file, _ := written(f)
	f.Add(file)
	f.Add(pcap(binary.BigEndian, magicNano, 1))
	f.Add(pcap(binary.LittleEndian, magicMicro, 1))
	if session, err := os.ReadFile("testdata/session.pcapng"); err == nil {
		f.Add(session[:2000])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := NewReader(bytes.NewReader(in))
		if err != nil {
			return
		}
		var d Decoder
		var s Summary
		for n := 0; ; n++ {
			p, err := r.Next()
			if err != nil {
				break
			}
			if n > len(in)/8 {
				t.Fatal("more packets than fit into the file")
			}
			rec := Record{Time: p.Time, Direction: p.Direction, Comment: p.Comment, Event: p.Event}
			if p.Event == "" {
				if rec.Datagram, err = ParseFrame(p.Link, p.Data); err != nil {
					s.Skip(err.Error())
					continue
				}
				d.Decode(&rec)
			}
			s.Add(&rec)
			if j := rec.AppendJSON(nil, at, true); !json.Valid(j) {
				t.Fatalf("not JSON: %s", j)
			}
			if line := rec.AppendText(nil, at); bytes.ContainsAny(line, "\n\r\x1b") {
				t.Fatalf("%q would disturb a terminal", line)
			}
		}
		if j := s.AppendJSON(nil); !json.Valid(j) {
			t.Fatalf("not JSON: %s", j)
		}
	})
}

// FuzzFrame reads frames of every link type; what is found is written and found again.
func FuzzFrame(f *testing.F) {
	for _, link := range []LinkType{LinkNull, LinkEthernet, LinkRaw, LinkSLL, LinkSLL2} {
		f.Add(uint16(link), AppendFrame(nil, Datagram{From: from4, To: to4, B: eot}))
		f.Add(uint16(link), AppendFrame(make([]byte, 14), Datagram{From: from6, To: to6, B: eot}))
	}
	f.Fuzz(func(t *testing.T, link uint16, in []byte) {
		d, err := ParseFrame(LinkType(link), in)
		if err != nil || d.Length != len(d.B) || d.Length > 65507 || d.From.Addr().Is4In6() || d.To.Addr().Is4In6() {
			return
		}
		again, err := ParseFrame(LinkRaw, AppendFrame(nil, d))
		if err != nil || again.From != d.From || again.To != d.To || again.ECN != d.ECN || !bytes.Equal(again.B, d.B) {
			t.Fatalf("%+v, %v, want %+v", again, err, d)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	file, err := os.ReadFile("testdata/session.pcapng")
	if err != nil {
		b.Fatal(err)
	}
	for _, json := range []bool{false, true} {
		b.Run(map[bool]string{false: "text", true: "json"}[json], func(b *testing.B) {
			var d Decoder
			var line []byte
			messages := 0
			for b.Loop() {
				r, _ := NewReader(bytes.NewReader(file))
				for {
					p, err := r.Next()
					if err != nil {
						break
					}
					rec := Record{Time: p.Time, Event: p.Event}
					if p.Event == "" {
						rec.Datagram, _ = ParseFrame(p.Link, p.Data)
						d.Decode(&rec)
					}
					if json {
						line = rec.AppendJSON(line[:0], at, false)
					} else {
						line = rec.AppendText(line[:0], at)
					}
					messages++
				}
			}
			b.ReportMetric(float64(messages)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
