package doctor

import "golang.org/x/sys/windows"

// IP_DONTFRAGMENT and IPV6_DONTFRAG of ws2ipdef.h.
const optDontFragment = 14

// dontFragment makes a socket send its datagrams whole or not at all.
func dontFragment(fd uintptr, is4 bool) error {
	level := windows.IPPROTO_IPV6
	if is4 {
		level = windows.IPPROTO_IP
	}
	return windows.SetsockoptInt(windows.Handle(fd), level, optDontFragment, 1)
}
