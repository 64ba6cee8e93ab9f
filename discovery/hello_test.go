package discovery

import (
	"errors"
	"testing"

	"github.com/multicast-upgrade/tool/manifest"
)

func TestHelloProvesItsKey(t *testing.T) {
	key, _ := manifest.GenerateKey(manifest.RoleDevice, nil)
	h := Hello{Device: "d1", Product: "p", Hardware: "h", Agent: []byte("0123456789abcdef")}
	if got, err := h.OpenKey(); err != nil || !got.IsZero() {
		t.Errorf("no key: %v, %v", got, err)
	}
	if err := h.Sign(key); err != nil {
		t.Fatal(err)
	}
	if got, err := h.OpenKey(); err != nil || got != key.Public() {
		t.Errorf("own key: %v, %v", got, err)
	}
	other, _ := manifest.GenerateKey(manifest.RoleDevice, nil)
	server, _ := manifest.GenerateKey(manifest.RoleServer, nil)
	for name, forge := range map[string]func(*Hello){
		"another agent":      func(h *Hello) { h.Agent = []byte("fedcba9876543210") },
		"another device":     func(h *Hello) { h.Device = "d2" },
		"somebody's key":     func(h *Hello) { h.Key = other.Public().String() },
		"no proof":           func(h *Hello) { h.Proof = nil },
		"key of other role":  func(h *Hello) { h.Sign(server) },
		"key that is no key": func(h *Hello) { h.Key = "device:ed25519:AA" },
	} {
		forged := h
		forge(&forged)
		if got, err := forged.OpenKey(); !errors.Is(err, ErrProof) || !got.IsZero() {
			t.Errorf("%s: %v, %v; want ErrProof", name, got, err)
		}
		// That it was proven holds within a server, and is nothing that a message could say.
		proven := forged.Proven(other.Public())
		if got, err := proven.OpenKey(); err != nil || got != other.Public() {
			t.Errorf("%s, proven: %v, %v", name, got, err)
		}
		var sent Hello
		if err := decoding.Unmarshal(must(encoding.Marshal(proven)), &sent); err != nil {
			t.Fatal(err)
		}
		if _, err := sent.OpenKey(); !errors.Is(err, ErrProof) {
			t.Errorf("%s, sent on: %v; want ErrProof", name, err)
		}
	}
}
