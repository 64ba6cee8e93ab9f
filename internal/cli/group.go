package cli

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/udp"
)

// RepairGroup reads --repair-group, of a session in group; what is not given is none.
func RepairGroup(s string, group netip.AddrPort) (repairs netip.AddrPort, err error) {
	if s != "" {
		repairs, err = udp.ParseGroup(s)
	}
	if err == nil {
		err = norm.CheckRepairGroup(repairs, group)
	}
	if err != nil {
		return repairs, fmt.Errorf("--repair-group: %s", strings.TrimPrefix(err.Error(), "norm: RepairGroup "))
	}
	return repairs, nil
}
