package api

import (
	"fmt"
	"net/http"
	"testing"
)

// However many addresses come, so many are held in memory; those that are known keep their limit.
func TestAttackManyAddresses(t *testing.T) {
	l := newLimiter(0.001)
	for i := range maxKeys + 1000 {
		l.take(fmt.Sprint("address ", i))
	}
	if len(l.keys) > maxKeys {
		t.Errorf("%d keys are held", len(l.keys))
	}
	if l.take("address 0") == 0 {
		t.Error("who has used the limit up has another one")
	}
}

// A limiter makes room by forgetting who has rested.
func TestLimiterForgetsTheRested(t *testing.T) {
	l := newLimiter(1e9)
	for i := range maxKeys {
		l.take(fmt.Sprint("address ", i))
	}
	l.take("somebody new")
	if l.keys["somebody new"] == nil {
		t.Error("there is no room for who is new")
	}
}

func TestAddressOf(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "nowhere": "invalid IP",
	} {
		if got := addressOf(&http.Request{RemoteAddr: from}); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
}
