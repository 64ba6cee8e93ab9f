package discovery

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxWait        = 60 * time.Second // of a long poll
	defaultWaiters = 20_000
	// maxPolls is how many polls of one device wait at once. The oldest gives way: a device has lost it, most likely.
	maxPolls = 4
	// returnRate is how many devices that are sent away are asked to come back in a second.
	returnRate = 2000
	// newsRate is how many devices that are told something are asked to poll again in a second: what they take of the server
	// then, others wait for that are yet to be told, who are some ten thousand in a second.
	newsRate = 4000
)

// A Seat is what one device is told beside what all are.
type Seat struct {
	Node   uint32        // its NormNodeId in the session, unlike all others'; 0: it chooses one
	Signed func() []byte // makes Notice.Seat, each time the device is told; nil: there is none
}

// A Posting is what is announced to some devices.
type Posting struct {
	board  *board
	seats  map[string]Seat // nil: everybody
	notice *Notice         // guarded by board.mu; nil: nothing yet, or no longer
	etag   string          // of notice; likewise
}

// noETag is that of nothing announced.
const noETag = `"none"`

// A board is what is announced to whom, and who waits for it.
type board struct {
	mu       sync.Mutex            // guards all below
	everyone *Posting              // may be nil
	postings map[string][]*Posting // to each device, the newest last
	waiting  map[string][]*waiter  // polls of each device, the oldest first; "" are devices that do not say who they are
	waiters  int
	closed   bool // no poll waits any more
	wheel    wheel
	line     line
}

// A waiter is a poll that waits.
type waiter struct {
	wake chan struct{} // closed when it has its turn
	from string        // the address that its connection comes from

	// guarded by board.mu
	slot                int  // of the wheel
	roused, awake, left bool // in line; has its turn; waits no more
}

func newBoard() *board {
	b := &board{postings: map[string][]*Posting{}, waiting: map[string][]*waiter{}}
	b.wheel.wake = b.line.rouse
	b.wheel.expire = func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.wheel.turn()
	}
	return b
}

// post returns a Posting for some devices; nothing is announced by it yet.
func (b *board) post(seats map[string]Seat) *Posting {
	p := &Posting{board: b, seats: map[string]Seat{}} // nobody, if there are no seats
	maps.Copy(p.seats, seats)
	b.mu.Lock()
	defer b.mu.Unlock()
	for device := range p.seats {
		b.postings[device] = append(b.postings[device], p)
	}
	return p
}

// Publish replaces what the posting announces, and wakes those of its devices that wait. The parts of a Notice that are not
// signed by a campaign are ignored.
func (p *Posting) Publish(n Notice) {
	n.Timestamp, n.Node, n.Seat = nil, 0, nil
	sum := sha256.Sum256(n.Encode())
	p.put(&n, `"`+hex.EncodeToString(sum[:16])+`"`)
}

// Waiting returns how many devices of the posting have a poll that waits.
func (p *Posting) Waiting() (n int) {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	for device := range p.seats {
		if len(p.board.waiting[device]) > 0 {
			n++
		}
	}
	return n
}

// Withdraw ends the posting. Its devices are told of the one before it, if there is one.
func (p *Posting) Withdraw() {
	p.put(nil, noETag)
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	for device := range p.seats {
		left := slices.DeleteFunc(p.board.postings[device], func(q *Posting) bool { return q == p })
		if p.board.postings[device] = left; len(left) == 0 {
			delete(p.board.postings, device)
		}
	}
	p.seats = map[string]Seat{}
}

func (p *Posting) put(n *Notice, etag string) {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	if p.etag == etag {
		return
	}
	p.notice, p.etag = n, etag
	if p.seats == nil {
		p.board.wake(maps.Keys(p.board.waiting))
	} else {
		p.board.wake(maps.Keys(p.seats))
	}
}

// wake ends the polls of devices. They look again at what is announced to them. Those that share a connection, as behind a
// proxy, have their turn together: then their answers leave together.
func (b *board) wake(devices iter.Seq[string]) {
	var polls []*waiter
	for device := range devices {
		polls = append(polls, b.waiting[device]...)
	}
	slices.SortFunc(polls, func(v, w *waiter) int { return strings.Compare(v.from, w.from) })
	for _, w := range polls {
		b.line.rouse(w)
	}
}

// current returns what a device is told now: the newest posting for it that announces anything.
func (b *board) current(device string) news {
	for _, p := range slices.Backward(b.postings[device]) {
		if p.notice != nil {
			return news{p.notice, p.etag, p.seats[device], nothing}
		}
	}
	if p := b.everyone; p != nil && p.notice != nil {
		return news{p.notice, p.etag, Seat{}, nothing}
	}
	return news{nil, noETag, Seat{}, nothing}
}

func nothing() {}

// news is what a device is told.
type news struct {
	notice *Notice // nil: nothing is announced
	etag   string
	seat   Seat
	turn   func() // to be called when the device has been told
}

// wait returns what a device is told: at once if it is not what the device knows, and otherwise when it becomes another, or
// after patience, or when ctx ends. A Refusal says that too many wait. The device's connection comes from the address from.
func (b *board) wait(ctx context.Context, device, from, known string, patience time.Duration, most int) (news, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.current(device)
	switch {
	case b.closed || patience > 0 && known == now.etag && b.waiters >= cmp.Or(most, defaultWaiters):
		return news{}, away(b.waiters)
	case patience <= 0 || known != now.etag:
		return now, nil
	}
	w := b.enter(device, from, patience)
	b.mu.Unlock()
	select {
	case <-w.wake:
	case <-ctx.Done():
	}
	b.mu.Lock()
	b.leave(device, w)
	if b.closed {
		b.line.served(w)
		return news{}, away(b.waiters)
	}
	now = b.current(device)
	if w.awake {
		now.turn = b.turn(w)
	}
	return now, nil
}

// turn returns what ends the turn of a poll, which lasts no longer than maxTurn.
func (b *board) turn(w *waiter) (end func()) {
	served := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.line.served(w)
	}
	limit := time.AfterFunc(maxTurn, served)
	return func() {
		limit.Stop()
		served()
	}
}

func (b *board) enter(device, from string, patience time.Duration) *waiter {
	w := &waiter{wake: make(chan struct{}), from: from}
	b.wheel.add(w, patience)
	b.waiters++
	polls := b.waiting[device]
	if device != "" && len(polls) >= maxPolls {
		b.line.rouse(polls[0])
	}
	b.waiting[device] = append(polls, w)
	return w
}

func (b *board) leave(device string, w *waiter) {
	b.wheel.remove(w)
	w.left = true
	b.waiters--
	polls := b.waiting[device]
	i := slices.Index(polls, w)
	if polls = slices.Delete(polls, i, i+1); len(polls) == 0 {
		delete(b.waiting, device)
		return
	}
	b.waiting[device] = polls
}

// waits reports whether a poll of the device waits.
func (b *board) waits(device string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting[device]) > 0
}

// close sends away all who wait, and all who come.
func (b *board) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.wake(maps.Keys(b.waiting))
}

// away asks a device to come back, each at another moment: the more there are, the more time they are given.
func away(waiters int) error {
	return &Refusal{Status: http.StatusServiceUnavailable, Reason: "busy", Detail: "come back later",
		retryAfter: 1 + rand.IntN(10+waiters/returnRate)}
}

// spreadHeader is a field of an answer that tells news: over how many seconds those who are told it together poll again, each
// at a moment of its own.
const spreadHeader = "Poll-Spread"

const maxPollSpread = 30 // seconds

// spread returns what the field says now.
func (b *board) spread() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return min(1+b.waiters/newsRate, maxPollSpread)
}

// pollSpread returns what the field says, at most maxPollSpread and, without it, as long as after any other poll.
func pollSpread(answer http.Header) time.Duration {
	seconds, err := strconv.ParseUint(answer.Get(spreadHeader), 10, 16)
	if err != nil {
		return maxJitter
	}
	return max(time.Duration(min(seconds, maxPollSpread))*time.Second, maxJitter)
}

// SendAway answers a device that it should come back later, at a moment that is spread out over as much time as so many
// devices need.
func SendAway(w http.ResponseWriter, devices int) { problem(w, away(devices)) }

// poll answers at once when the notice is another than the device has, else when it changes or the device's patience
// ends.
func (h *Handler) poll(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	device := query.Get("device")
	if err := checkPeer(r.Context(), device); err != nil {
		problem(w, err)
		return
	}
	wait := time.Duration(0)
	if s, err := strconv.ParseUint(query.Get("wait"), 10, 16); err == nil {
		wait = min(time.Duration(s)*time.Second, maxWait)
	}
	known := r.Header.Get("If-None-Match")
	told, err := h.board.wait(r.Context(), device, r.RemoteAddr, known, wait, h.MaxWaiters)
	if err != nil {
		problem(w, err)
		return
	}
	defer told.turn()
	w.Header().Set("ETag", told.etag)
	w.Header().Set("Cache-Control", "no-cache")
	switch { // what has no body is not bounded in time: nobody can be slow to take it
	case known == told.etag:
		w.WriteHeader(http.StatusNotModified)
	case told.notice == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		defer boundAnswer(w, r)()
		fresh := *told.notice
		fresh.Timestamp, fresh.Node = h.backend.Timestamp(), told.seat.Node
		if told.seat.Signed != nil {
			fresh.Seat = told.seat.Signed()
		}
		w.Header().Set("Content-Type", "application/cbor")
		w.Header().Set(spreadHeader, strconv.Itoa(h.board.spread()))
		w.Write(fresh.Encode())
	}
}
