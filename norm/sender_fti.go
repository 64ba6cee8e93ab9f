package norm

import "github.com/multicast-upgrade/tool/norm/wire"

// An FTIPolicy says which messages of an object carry its EXT_FTI. Receivers need the FEC Object Transmission Information
// before they can keep anything of an object.
type FTIPolicy uint8

const (
	// FTIAlways puts it in each NORM_INFO and NORM_DATA, so that any of them makes the object known.
	FTIAlways FTIPolicy = iota
	// FTIInfo puts it in NORM_INFO only, which saves 12 or 16 bytes in each NORM_DATA: "To conserve protocol overhead, NORM
	// implementations MAY apply the EXT_FTI when used to NORM_INFO messages only and not to NORM_DATA messages." RFC 5740,
	// Section 4.2.2. An object without Info gets an empty one. A receiver that missed the NORM_INFO asks for it first.
	FTIInfo
	// FTINone leaves it to other means: every receiver must be given the objects as [Preset].
	FTINone
)

// attachFTI makes the EXT_FTI of an object, if its messages are to carry it.
func (s *Sender) attachFTI(o *outgoing) (err error) {
	if s.cfg.FTI == FTINone {
		return nil
	}
	if s.cfg.FTI == FTIInfo && o.info == nil {
		o.setInfo(nil)
	}
	o.ext, err = wire.AppendFTI(nil, o.fecID(), o.fti())
	return err
}

// setInfo gives an object its NORM_INFO, which may be empty.
func (o *outgoing) setInfo(content []byte) {
	o.info = append([]byte{}, content...)
	o.flags |= wire.FlagInfo
}

// dataExtensions returns the extensions of a NORM_DATA.
func (s *Sender) dataExtensions(o *outgoing) wire.Extensions {
	if s.cfg.FTI == FTIAlways {
		return o.ext
	}
	return nil
}
