package cli

import (
	"net"
	"strconv"
	"time"
)

// A Service is how the program is watched by a service manager that speaks sd_notify(3). The zero value is watched by none.
type Service struct {
	socket string
	// Watchdog is how often the manager wants to hear WATCHDOG=1, at least; zero: never.
	Watchdog time.Duration
}

// NewService finds out from the environment who watches.
func NewService(w World) Service {
	s := Service{socket: w.Getenv("NOTIFY_SOCKET")}
	if us, err := strconv.ParseInt(w.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 && s.socket != "" {
		s.Watchdog = time.Duration(us) * time.Microsecond
	}
	return s
}

// Notify tells the manager assignments such as READY=1, newline-separated. That they do not arrive is no reason to fail.
func (s Service) Notify(state string) {
	if s.socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"}) // @ is the abstract namespace here, too
	if err != nil {
		return
	}
	defer conn.Close()
	conn.Write([]byte(state))
}
