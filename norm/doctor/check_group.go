package doctor

import (
	"fmt"

	"github.com/multicast-upgrade/tool/norm/udp"
)

// checkGroup judges the address alone.
func checkGroup(o *observed) Finding {
	a := o.config.Group.Addr()
	switch {
	case a.IsLinkLocalMulticast() && a.Is4():
		return Finding{Verdict: Warning, Seen: fmt.Sprintf("%v is link-local (224.0.0.0/24): no router forwards it, and switches flood it", a),
			Remedy: "take a group of 239.0.0.0/8 (RFC 2365)"}
	case udp.IsSourceSpecific(a) && !o.config.Source.IsValid():
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("%v is source-specific (RFC 4607), and no source is given", a),
			Remedy: "give the sender's address by --source"}
	case a.Is4() && aliasesControl(a.As4()):
		return Finding{Verdict: Warning,
			Seen:   fmt.Sprintf("%v has the Ethernet address of 224.0.0.%d (RFC 1112, Section 6.4): switches flood it", a, a.As4()[3]),
			Remedy: "take a group that is not of the form x.0.0.y or x.128.0.y"}
	case a.Is4():
		return Finding{Verdict: OK, Seen: fmt.Sprintf("%v is %s", a, scope4(a.As4()))}
	}
	return checkScope6(o)
}

// aliasesControl reports whether an address has the low 23 bits of 224.0.0.0/24, all that Ethernet keeps of it.
func aliasesControl(a [4]byte) bool { return a[0] != 224 && a[1]&0x7f == 0 && a[2] == 0 }

// scope4 names the block of an address (RFC 5771).
func scope4(a [4]byte) string {
	switch {
	case a[0] == 239:
		return "of the administratively scoped block"
	case a[0] == 232:
		return "source-specific"
	case a[0] == 233:
		return "of the GLOP block"
	case a[0] == 224 && a[1] <= 1:
		return "of a block assigned to protocols: make sure it is not another's"
	}
	return "an ordinary group"
}

// checkScope6 judges the scope of an IPv6 group (RFC 4291, Section 2.7).
func checkScope6(o *observed) Finding {
	a := o.config.Group.Addr().As16()
	names := map[byte]string{1: "interface-local", 2: "link-local", 3: "realm-local", 4: "admin-local", 5: "site-local", 8: "organization-local", 14: "global"}
	scope := a[1] & 15
	name, known := names[scope]
	switch {
	case !known:
		return Finding{Verdict: Warning, Seen: fmt.Sprintf("scope %x is reserved or not assigned (RFC 7346)", scope), Remedy: "take scope 5 or 8, such as ff15::…"}
	case scope == 1:
		return Finding{Verdict: Fault, Seen: "the scope is interface-local: it leaves no host", Remedy: "take scope 5 or 8, such as ff15::…"}
	case scope == 2 && o.config.TTL > 1:
		return Finding{Verdict: Warning, Seen: "the scope is link-local: no router forwards it, whatever the hop limit", Remedy: "take scope 5 or 8, such as ff15::…"}
	}
	return Finding{Verdict: OK, Seen: fmt.Sprintf("%v has %s scope", o.config.Group.Addr(), name)}
}
