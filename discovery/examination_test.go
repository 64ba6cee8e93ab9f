package discovery

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// Nobody but the server has devices join a group and send to it.
func TestAttackExaminationByOthers(t *testing.T) {
	server := generate(t, manifest.RoleServer)
	good := Examination{ID: ExaminationID{1, 2}, Group: netip.MustParseAddrPort("239.1.2.3:6003"), SegmentSize: 1400, Rate: 5e6,
		Spread: time.Minute, Until: time.Unix(2e9, 0).UTC(), Sender: netip.MustParseAddr("192.0.2.1")}
	signed, err := good.Sign(server)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenExamination(signed, server.Public()); err != nil || !got.Until.Equal(good.Until) || got.Group != good.Group || got.ID != good.ID || got.Rate != good.Rate || got.Spread != good.Spread || got.Sender != good.Sender {
		t.Errorf("%+v, %v, want %+v", got, err, good)
	}
	refused := func(what string, signed []byte) {
		t.Helper()
		if e, err := OpenExamination(signed, server.Public()); !errors.Is(err, ErrExamination) {
			t.Errorf("%s: %+v, %v", what, e, err)
		}
	}
	for i := range signed {
		forged := bytes.Clone(signed)
		forged[i] ^= 1
		refused("a bit changed", forged)
		refused("cut off", signed[:i])
	}
	if forged, err := good.Sign(generate(t, manifest.RoleServer)); err != nil {
		t.Fatal(err)
	} else {
		refused("another server's", forged)
	}
	if b, err := server.Sign("multicast-upgrade hello 1", must(encoding.Marshal(good))); err != nil {
		t.Fatal(err)
	} else {
		refused("signed for another purpose", b)
	}
	for what, change := range map[string]func(*Examination){
		"no group":   func(e *Examination) { e.Group = netip.MustParseAddrPort("192.0.2.1:6003") },
		"no port":    func(e *Examination) { e.Group = netip.MustParseAddrPort("239.1.2.3:0") },
		"for days":   func(e *Examination) { e.Spread = 48 * time.Hour },
		"backwards":  func(e *Examination) { e.Spread = -1 },
		"for ever":   func(e *Examination) { e.Until = time.Time{} },
		"of two IPs": func(e *Examination) { e.Sender = netip.MustParseAddr("2001:db8::1") },
		"no address": func(e *Examination) { e.Group = netip.AddrPort{} },
	} {
		bad := good
		change(&bad)
		if b, err := bad.Sign(server); err != nil {
			t.Fatal(err)
		} else {
			refused(what, b)
		}
	}
}

// What a device has found is not to be put into its mouth.
func TestAttackDiagnosisOfAnother(t *testing.T) {
	key := generate(t, manifest.RoleDevice)
	d := Diagnosis{Device: "lamp-17", Examination: ExaminationID{9}, Findings: []Finding{{"ttl", "fault", "the sender's TTL is 1", "send with --ttl 4"}}}
	if err := d.Sign(key); err != nil {
		t.Fatal(err)
	}
	var got Diagnosis
	if err := decoding.Unmarshal(must(encoding.Marshal(d)), &got); err != nil {
		t.Fatal(err)
	}
	if err := got.Verify(key.Public()); err != nil {
		t.Errorf("as it was sent: %v", err)
	}
	for what, change := range map[string]func(*Diagnosis){
		"another device":      func(d *Diagnosis) { d.Device = "lamp-18" },
		"another examination": func(d *Diagnosis) { d.Examination[3]++ },
		"another verdict":     func(d *Diagnosis) { d.Findings = []Finding{{"ttl", "ok", "the sender's TTL is 1", ""}} },
		"no findings":         func(d *Diagnosis) { d.Findings = nil },
		"no proof":            func(d *Diagnosis) { d.Proof = nil },
	} {
		forged := d
		change(&forged)
		if err := forged.Verify(key.Public()); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := d.Verify(generate(t, manifest.RoleDevice).Public()); !errors.Is(err, ErrProof) {
		t.Errorf("with another key: %v", err)
	}
}
