package fleet

import (
	"maps"
	"slices"

	"github.com/multicast-upgrade/tool/commit"
)

// A demand is what a campaign would send with if it were alone.
type demand struct {
	most  float64 // bits per second; 0: as much as there is
	iface string
}

// shares divides what there is among campaigns: each interface has its limit, all together have total, and nobody gets more
// than it can use. What one does not use the others have.
func shares(demands map[commit.CampaignID]demand, total float64, limits map[string]float64) map[commit.CampaignID]float64 {
	byIface := map[string]map[commit.CampaignID]float64{}
	for id, d := range demands {
		if byIface[d.iface] == nil {
			byIface[d.iface] = map[commit.CampaignID]float64{}
		}
		most := d.most
		if most == 0 || most > total {
			most = total
		}
		byIface[d.iface][id] = most
	}
	wants := map[commit.CampaignID]float64{}
	for iface, of := range byIface {
		if limit, ok := limits[iface]; ok {
			of = divide(of, limit)
		}
		maps.Copy(wants, of)
	}
	return divide(wants, total)
}

// divide gives each what it wants as far as it is no more than an even share of what is left by those who want less.
func divide(wants map[commit.CampaignID]float64, total float64) map[commit.CampaignID]float64 {
	ids := slices.SortedFunc(maps.Keys(wants), compareIDs)
	slices.SortStableFunc(ids, func(a, b commit.CampaignID) int {
		switch {
		case wants[a] < wants[b]:
			return -1
		case wants[a] > wants[b]:
			return 1
		}
		return 0
	})
	given := map[commit.CampaignID]float64{}
	for i, id := range ids {
		given[id] = min(wants[id], total/float64(len(ids)-i))
		total -= given[id]
	}
	return given
}
