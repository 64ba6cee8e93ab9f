package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/tftp"
)

// content returns bytes that do not compress, the same for each size, and their SHA-256.
func content(size int) (b []byte, sum string) {
	b = make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(b)
	digest := sha256.Sum256(b)
	return b, hex.EncodeToString(digest[:])
}

// serve is the process of a server: what is "HTTP" or "TFTP" and a size. It prints where it listens, and ends with its input.
func serve(what string) error {
	by, number, _ := strings.Cut(what, " ")
	size, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	image, _ := content(size)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	if by == "TFTP" {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		fmt.Println(c.LocalAddr())
		(&tftp.Server{Files: one(image)}).Serve(ctx, c) // until ctx ends
		return nil
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	s := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "image.bin", time.Time{}, bytes.NewReader(image))
	})}
	context.AfterFunc(ctx, func() { s.Close() })
	s.Serve(l) // until it is closed
	return nil
}

// one is the only file of a TFTP server.
type one []byte

func (f one) Open(string) (tftp.File, error)                { return f, nil }
func (f one) Size() (int64, error)                          { return int64(len(f)), nil }
func (f one) Close() error                                  { return nil }
func (f one) ReadAt(b []byte, off int64) (n int, err error) { return bytes.NewReader(f).ReadAt(b, off) }

// A server is such a process.
type server struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

func startServer(ctx context.Context, by string, size int) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.CommandContext(ctx, self)}
	s.cmd.Env, s.cmd.Stderr = append(os.Environ(), fmt.Sprintf("%s=%s %d", serveEnv, by, size)), os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanln(out, &s.addr); err != nil {
		s.stop()
		return nil, fmt.Errorf("the %s server does not start: %w", by, err)
	}
	return s, nil
}

// stop ends the server, and returns the CPU time it took, in seconds.
func (s *server) stop() (user, system float64) {
	s.stdin.Close()
	s.cmd.Wait()
	return s.cmd.ProcessState.UserTime().Seconds(), s.cmd.ProcessState.SystemTime().Seconds()
}
