package api

import (
	"cmp"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits are how many requests are answered, in a second; so many at once as five seconds have.
type Limits struct {
	PerToken   float64 // if zero, 50
	PerAddress float64 // if zero, 200: people behind one proxy have one address
	Guesses    float64 // tokens that are not good, for each address. If zero, 1
}

const (
	burstTime = 5 // seconds
	maxKeys   = 20_000
)

type limits struct{ tokens, addresses, guesses *limiter }

func newLimits(l Limits) limits {
	return limits{newLimiter(cmp.Or(l.PerToken, 50)), newLimiter(cmp.Or(l.PerAddress, 200)), newLimiter(cmp.Or(l.Guesses, 1))}
}

// A limiter has a limit for each of many keys.
type limiter struct {
	perSecond float64

	mu    sync.Mutex // guards all below
	keys  map[string]*rate.Limiter
	swept time.Time // when room was made last
}

func newLimiter(perSecond float64) *limiter {
	return &limiter{perSecond: perSecond, keys: map[string]*rate.Limiter{}}
}

func (l *limiter) of(key string, now time.Time) *rate.Limiter {
	if r := l.keys[key]; r != nil {
		return r
	}
	burst := max(1, int(l.perSecond*burstTime))
	if len(l.keys) >= maxKeys && now.Sub(l.swept) >= time.Second {
		// Who has rested long enough is as good as new. That is looked for rarely, as it goes through all.
		l.swept = now
		maps.DeleteFunc(l.keys, func(_ string, r *rate.Limiter) bool { return r.TokensAt(now) >= float64(burst) })
	}
	r := rate.NewLimiter(rate.Limit(l.perSecond), burst)
	if len(l.keys) < maxKeys { // beyond that, who is new has a limit for this request only
		l.keys[key] = r
	}
	return r
}

// take takes one from a key's limit; if there is none left, it returns when there will be.
func (l *limiter) take(key string) time.Duration {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.of(key, now)
	if r.AllowN(now, 1) {
		return 0
	}
	return l.missing(r, now)
}

// wait returns when there will be one, and takes none.
func (l *limiter) wait(key string) time.Duration {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.of(key, now); r.TokensAt(now) < 1 {
		return l.missing(r, now)
	}
	return 0
}

func (l *limiter) missing(r *rate.Limiter, now time.Time) time.Duration {
	return time.Duration((1 - r.TokensAt(now)) / l.perSecond * float64(time.Second))
}

// addressOf returns where a request is from: of IPv6 the network, as a host has many addresses of it.
func addressOf(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	ip, err := netip.ParseAddr(host)
	if ip = ip.Unmap(); err != nil || ip.Is4() {
		return ip.String()
	}
	network, _ := ip.WithZone("").Prefix(64) // of 128 bits
	return network.String()
}
