package tftp

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Files is what is offered.
type Files interface {
	// Open opens a file for one transfer. The name comes from the network as it is; the error is fs.ErrNotExist if there
	// is no such file.
	Open(name string) (File, error)
}

// A File is one of them. It does not change while it is open.
type File interface {
	io.ReaderAt
	io.Closer
	Size() (int64, error)
}

// Limits of a server.
const (
	maxTransfers = 64 // at a time
	maxOfSource  = 4  // and of one address
)

// A Server serves files. Its methods may be called from several goroutines.
type Server struct {
	Files Files
	Log   *slog.Logger // if nil, nobody is told

	mu      sync.Mutex
	clients map[netip.AddrPort]bool // with a transfer under way
	sources map[netip.Addr]int

	dropped, refused, served, silent atomic.Uint64
}

// Stats are counts of packets and transfers.
type Stats struct {
	Dropped uint64 // packets that got no answer: malformed, or beyond the limits
	Refused uint64 // requests answered with an error
	Served  uint64 // transfers that came to their end
	Silent  uint64 // transfers given up because the client did not answer
}

func (s *Server) Stats() Stats {
	return Stats{s.dropped.Load(), s.refused.Load(), s.served.Load(), s.silent.Load()}
}

// Serve answers what comes to conn until ctx ends, and then waits for the transfers, which end with it. It closes conn.
func (s *Server) Serve(ctx context.Context, conn *net.UDPConn) error {
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	local := conn.LocalAddr().(*net.UDPAddr).IP
	var transfers sync.WaitGroup
	defer transfers.Wait()
	buf := make([]byte, maxRequest+1) // one more, so that what is longer is found out
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			continue // of a client that is gone (ICMP), on some systems
		}
		r, err := parseRequest(buf[:n])
		if refused, ok := errors.AsType[*refusal](err); ok {
			s.refused.Add(1)
			conn.WriteToUDPAddrPort(appendError(nil, refused), from) // lost is lost
			continue
		}
		if err != nil || !s.begin(from) {
			s.dropped.Add(1)
			continue
		}
		transfers.Go(func() {
			defer s.end(from)
			err := s.transfer(ctx, local, from, r)
			if err == errSilent {
				s.silent.Add(1)
			}
			log.Debug("TFTP", "client", from, "name", r.name, "error", err)
		})
	}
}

// begin takes a place for a client's transfer, unless it has one already (its request came twice) or none is left.
func (s *Server) begin(client netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients == nil {
		s.clients, s.sources = make(map[netip.AddrPort]bool), make(map[netip.Addr]int)
	}
	if s.clients[client] || len(s.clients) >= maxTransfers || s.sources[client.Addr()] >= maxOfSource {
		return false
	}
	s.clients[client] = true
	s.sources[client.Addr()]++
	return true
}

func (s *Server) end(client netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, client)
	if s.sources[client.Addr()]--; s.sources[client.Addr()] == 0 {
		delete(s.sources, client.Addr())
	}
}

// open opens the file that is asked for.
func (s *Server) open(name string) (File, int64, error) {
	f, err := s.Files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, &refusal{codeNotFound, "no such image"}
	}
	if err != nil {
		return nil, 0, &refusal{codeAccess, "it cannot be read now"}
	}
	size, err := f.Size()
	if err != nil {
		f.Close()
		return nil, 0, &refusal{codeAccess, "it cannot be read now"}
	}
	return f, size, nil
}
