package main

import (
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
)

var dialects = map[manifest.Dialect]fec.Dialect{manifest.DialectRFC: fec.RFC, manifest.DialectNRL: fec.NRL}

// preset is an object as the session description tells of it, so that no stranger's word counts.
func preset(d *manifest.Session, id uint16, kind norm.Kind, size int64) norm.Preset {
	return norm.Preset{
		Sender: norm.NodeID(d.NodeID), ID: norm.TransportID(id), Kind: kind, Size: size,
		FEC: fec.Params{
			ID: d.FEC.ID, Instance: d.FEC.Instance, M: d.FEC.FieldSize, Dialect: dialects[d.FEC.Dialect],
			MaxBlockLen: int(d.FEC.BlockSize), MaxParity: int(d.FEC.Parity), SegmentSize: int(d.FEC.SegmentSize),
		},
	}
}
