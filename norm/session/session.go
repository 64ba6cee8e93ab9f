package session

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// ErrClosed is returned by the methods of a Session that was closed.
var ErrClosed = errors.New("session: closed")

// A Conn is the socket of a session: a *udp.Conn, or one in memory. Its methods behave as those of udp.Conn.
type Conn interface {
	ReadBatch(msgs []udp.Message) (n int, err error)
	WriteBatch(msgs []udp.Message) (n int, err error)
	Close() error
}

// A RepairConn is a Conn that can hear a repair group, as norm.ReceiverConfig.RepairGroup asks for. HearRepairs joins it, or
// leaves it, without waiting for the network.
type RepairConn interface {
	Conn
	HearRepairs(hear bool) error
}

// A Source is the bytes of an object to send. As io.ReaderAt says, it must bear several calls at once.
type Source = io.ReaderAt

// A Sink takes the bytes of an object that is received, block by block in any order. It is also read: blocks that do
// not fit in memory are kept there until they can be decoded. Up to Config.Workers calls may be under way at once, for
// ranges that do not overlap; none after norm.ObjectComplete, unless a range is rejected. An error aborts the object.
type Sink interface {
	io.WriterAt
	io.ReaderAt
}

// Config says what a Session does. Conn and at least one of Send and Receive must be set.
type Config struct {
	Conn    Conn                 // closed by Close
	Send    *norm.SenderConfig   // what [norm.NewSender] is given; a zero Seed is replaced by a random one
	Receive *norm.ReceiverConfig // what [norm.NewReceiver] is given; a zero Seed is replaced by a random one

	// Offer is asked where to put an object that was not expected; a nil Sink refuses it for good. What ReceivedObject
	// says of it is a stranger's word. It runs on the loop: it must neither block nor call methods of the Session. If
	// nil, all are refused.
	Offer func(norm.Handle, norm.ReceivedObject) Sink

	// OfferStream is asked whether to receive a stream, which r then reads. It runs on the loop, too: reading is for another
	// goroutine. If nil, all are refused.
	OfferStream func(r *StreamReader, o norm.ReceivedObject) bool

	// Workers is how many goroutines read and write objects. If zero, 2.
	Workers int

	// Trace is told of every datagram and event. If nil, nobody is.
	Trace Tracer

	// Log gets what happens once for an object or a sender at Info, what happens in each block or cycle at Debug, and
	// at Warn what an operator should look after. If nil, nobody is told.
	Log *slog.Logger
}

// A Session is one node in one NORM session. Its methods may be called from any goroutine.
type Session struct {
	cfg    Config
	calls  chan func(now time.Time) // work for the loop, from any goroutine
	closed chan struct{}            // closed by Close, or by the loop when the socket fails
	once   sync.Once
	cause  error // why closed; written before closed is closed
	done   sync.WaitGroup

	events queue

	// Owned by the loop; nothing else touches these.
	tx      *norm.Sender
	rx      *norm.Receiver
	due     time.Time     // when one of them waits for the time to be told; zero: never
	pause   time.Duration // see const pause; zero where there is nothing to be gained
	files   files
	waits   map[norm.AckRequest]*ackWait // of callers that wait
	streams streams
	out     outbox
	unsent  uint64
	mute    bool // the last datagrams could not be sent
	stuck   bool // the sink does not move: see relieve
	hears   bool // the repair group
}

// Open starts a session. On error the Conn stays open.
func Open(cfg Config) (*Session, error) {
	if cfg.Conn == nil || cfg.Send == nil && cfg.Receive == nil {
		return nil, errors.New("session: want a Conn, and Send or Receive")
	}
	if cfg.Workers < 0 {
		return nil, fmt.Errorf("session: Workers %d: want at least 1", cfg.Workers)
	}
	cfg.Workers = cmp.Or(cfg.Workers, 2)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Session{
		cfg:     cfg,
		calls:   make(chan func(time.Time)),
		closed:  make(chan struct{}),
		events:  newQueue(),
		waits:   make(map[norm.AckRequest]*ackWait),
		streams: newStreams(),
	}
	var err error
	if cfg.Send != nil {
		c := *cfg.Send
		if c.Burst == 0 {
			s.pause = pause
		}
		c.Seed = cmp.Or(c.Seed, randomSeed())
		if s.tx, err = norm.NewSender(c, time.Now()); err != nil {
			return nil, err
		}
	}
	if cfg.Receive != nil {
		c := *cfg.Receive
		c.Seed = cmp.Or(c.Seed, randomSeed())
		if _, ok := cfg.Conn.(RepairConn); !ok && c.RepairGroup.IsValid() {
			return nil, fmt.Errorf("session: RepairGroup %v: the Conn is no RepairConn", c.RepairGroup)
		}
		if s.rx, err = norm.NewReceiver(c); err != nil {
			return nil, err
		}
	}
	s.files, s.out = newFiles(cfg.Workers), newOutbox(cfg.Conn, cfg.Trace)
	s.due = time.Now() // the first turn is at once
	s.done.Go(s.loop)
	return s, nil
}

func randomSeed() uint64 {
	var b [8]byte
	crand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:])
}

// Next waits for the next event. After Close it returns what is left, then ErrClosed, or what made the socket fail.
//
// Events are to be fetched: when 16,384 of them wait, no more datagrams are taken from the socket. Several
// norm.ObjectData that follow one another may be told as one.
func (s *Session) Next(ctx context.Context) (norm.Event, error) {
	for {
		if e, ok := s.events.pop(); ok {
			return e, nil
		}
		select {
		case <-s.events.more:
		case <-ctx.Done():
			return norm.Event{}, context.Cause(ctx)
		case <-s.closed:
			s.done.Wait()
			if e, ok := s.events.pop(); ok {
				return e, nil
			}
			return norm.Event{}, cmp.Or(s.cause, ErrClosed)
		}
	}
}

// Close stops the session at once, without telling anyone: for a sender that should, see [Session.End]. It returns when
// reads and writes under way are done; sources and sinks stay open.
func (s *Session) Close() error {
	s.shut(nil)
	s.done.Wait()
	return nil
}

// shut closes the session for the given reason; only the first call counts.
func (s *Session) shut(cause error) {
	s.once.Do(func() {
		s.cause = cause
		close(s.closed)
		s.cfg.Conn.Close() // wakes the reader
	})
}

// do runs f on the loop and waits: for f, for ctx, or for the session to close.
func (s *Session) do(ctx context.Context, f func(now time.Time)) error {
	ran := make(chan struct{})
	select {
	case s.calls <- func(now time.Time) { f(now); close(ran) }:
		<-ran
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.closed:
		return cmp.Or(s.cause, ErrClosed)
	}
}

// isClosed reports whether err is what a socket says after Close.
func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
