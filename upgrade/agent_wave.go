package upgrade

import (
	"fmt"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// waveIn returns which wave of a campaign this device is in, as the server key says. Nobody else is believed: a device that
// were told another wave by somebody on the way would vote in it, and act on its COMMIT.
func (a *Agent) waveIn(s *manifest.Session, signed []byte) (uint32, error) {
	if s.Waves == 0 {
		return 0, nil
	}
	seat, err := commit.OpenSeat(signed, a.trust().Server(signed))
	switch {
	case err != nil:
		return 0, fmt.Errorf("the wave of this device: %w", err)
	case seat.Campaign != s.Campaign || seat.Device != a.cfg.Device || seat.Wave >= s.Waves:
		return 0, fmt.Errorf("%w: a seat of device %s in wave %d of campaign %s", commit.ErrMessage, seat.Device, seat.Wave, seat.Campaign)
	}
	return seat.Wave, nil
}

// brake notes a HOLD or RESUME of the campaign for its reception: in a pause nothing is sent, and that is no reason to fetch
// the rest by HTTP.
func (c *campaign) brake(signed []byte, server manifest.PublicKey) {
	b, err := commit.OpenBrake(signed, server)
	if err != nil || b.Campaign != c.round.Campaign || b.Sequence <= c.braked {
		return
	}
	c.braked = b.Sequence
	c.paused.Store(b.Pause)
}
