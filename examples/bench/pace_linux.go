package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/multicast-upgrade/tool/internal/netns"
)

// A paceCount is what a receiver saw of how evenly datagrams came, by the kernel's time of their arrival.
type paceCount struct {
	Least float64 `json:"least"` // bits per second of UDP payload in the worst second
	Most  float64 `json:"most"`  // and in the best
}

// An arrival is a datagram.
type arrival struct {
	at    time.Duration
	bytes int
}

// paceReceive takes down when datagrams arrive until it is interrupted.
func paceReceive() error {
	fd, err := blastMember()
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return err
	}
	wait := unix.NsecToTimeval(int64(50 * time.Millisecond))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	m := newMmsg(blastBatch, func(int) []byte { return make([]byte, 2048) })
	fmt.Println("counting")
	var arrivals []arrival
	for len(interrupted) == 0 {
		for i := range m.hdrs {
			m.hdrs[i].Control = &m.oobs[i][0]
			m.hdrs[i].SetControllen(len(m.oobs[i]))
		}
		n, err := m.call(unix.SYS_RECVMMSG, fd, unix.MSG_WAITFORONE)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		for i := range n {
			arrivals = append(arrivals, arrival{arrivalTime(m.oobs[i][:m.hdrs[i].Controllen]), int(m.hdrs[i].n)})
		}
	}
	return json.NewEncoder(os.Stdout).Encode(pace(arrivals))
}

// arrivalTime finds the kernel's time stamp among control messages.
func arrivalTime(oob []byte) time.Duration {
	for len(oob) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return time.Duration((*unix.Timespec)(unsafe.Pointer(&data[0])).Nano())
		}
		oob = rest
	}
	return 0
}

// pace slides a window of a second over the arrivals, and returns the least and the most that was in it.
func pace(arrivals []arrival) (c paceCount) {
	const window = time.Second
	bytes, from := 0, 0
	for _, a := range arrivals {
		for ; arrivals[from].at <= a.at-window; from++ {
			// The second that begins just behind from ends before a.
			bytes -= arrivals[from].bytes
			if least := float64(bytes) * 8; from == 0 || least < c.Least {
				c.Least = least
			}
		}
		bytes += a.bytes // all that came in the second that a ends
		c.Most = max(c.Most, float64(bytes)*8)
	}
	return c
}

// paceTime is how long a rate is watched.
const paceTime = 4 * time.Second

// A pacing is how normsend kept a rate.
type pacing struct {
	rate float64
	paceCount
	largest int // datagrams that left at once
	err     error
}

var (
	paceLine     = regexp.MustCompile(`^\{"least"`)
	largestBurst = regexp.MustCompile(`"largest_burst":(\d+)`)
)

// keep watches normsend keep a rate.
func (l *lab) keep(rate float64) (p pacing) {
	p.rate = rate
	net := l.net(1)
	l.prepare(net, trial{})
	// Zeros that take no room; more than can be sent.
	file := l.program("zeros")
	f, err := os.Create(file)
	if err == nil {
		err = f.Truncate(1 << 36)
		f.Close()
	}
	if p.err = err; err != nil {
		return p
	}
	counter, err := l.start(net.Host(1), l.self, "blast", "pace")
	if p.err = err; err != nil {
		return p
	}
	defer counter.stop()
	if _, p.err = counter.await(counting, time.Now().Add(10*time.Second)); p.err != nil {
		return p
	}
	sender, err := l.start(net.Host(0), l.program("normsend"), "file", "--json", "--group", group+":"+port, "--interface", netns.Interface,
		"--rate", fmt.Sprintf("%.0f", rate), file)
	if p.err = err; err != nil {
		return p
	}
	time.Sleep(paceTime)
	counter.cmd.Process.Signal(os.Interrupt) // before the sender, which would be seen to end
	said, err := counter.await(paceLine, time.Now().Add(10*time.Second))
	sender.stop()
	if p.err = err; err == nil {
		p.err = json.NewDecoder(strings.NewReader(said.text)).Decode(&p.paceCount)
	}
	if match := sender.find(largestBurst); match != nil {
		p.largest = int(number(match[1]))
	}
	return p
}
