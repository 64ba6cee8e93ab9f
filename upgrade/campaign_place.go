package upgrade

import (
	"cmp"
	"net/netip"
)

// A place is where the server of a campaign is. Nothing that was promised depends on it: a server that is continued on
// another host or with another address says so, devices find its rendezvous by the name in the URL that they were given, and
// the next description of the session tells them of another source.
type place struct {
	Listen, Advertise, Interface string     // as they were given
	Source                       netip.Addr // likewise
	Address, URL                 string     // what came of it
}

func (f *frozen) place() *place {
	s := &f.Settings
	return &place{s.Listen, s.Advertise, s.Interface, s.Source, f.Address, f.URL}
}

// move puts the server where it was last, if it was ever moved, and from there to where it is said to be now.
func (f *frozen) move(last *place, given settings) {
	was := cmp.Or(last, f.place())
	is := *was
	is.Listen, is.Advertise = cmp.Or(given.Listen, was.Listen), cmp.Or(given.Advertise, was.Advertise)
	is.Interface, is.Source = cmp.Or(given.Interface, was.Interface), cmp.Or(given.Source, was.Source)
	if is != *was {
		is.Address, is.URL = "", "" // to be found out anew
	}
	s := &f.Settings
	s.Listen, s.Advertise, s.Interface, s.Source = is.Listen, is.Advertise, is.Interface, is.Source
	f.Address, f.URL = is.Address, is.URL
}
