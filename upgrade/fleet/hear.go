package fleet

import (
	"context"
	"strconv"
	"strings"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// hear tells subscribers what the audit trail has that is new: it is how they learn of what other servers do.
func (s *Server) hear(ctx context.Context) error {
	for {
		l, err := s.store.Events(ctx, store.EventFilter{}, store.Page{After: strconv.FormatInt(s.audited, 10), Limit: 1000})
		if err != nil {
			return err
		}
		var c Changes
		for _, e := range l.Items {
			s.audited = e.ID
			kind, _, _ := strings.Cut(e.Action, ".")
			c.Devices = c.Devices || kind == "device"
			c.Releases = c.Releases || kind == "release"
			if id, err := manifest.ParseCampaignID(e.Campaign); err == nil {
				c.Campaigns = append(c.Campaigns, id)
			}
		}
		if len(l.Items) > 0 {
			s.hub.changed(c)
		}
		if l.Next == "" {
			return nil
		}
	}
}
