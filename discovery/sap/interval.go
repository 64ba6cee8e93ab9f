package sap

import "time"

// DefaultLimit is what all announcements on a group may take, in bits per second: "If not otherwise specified, the bandwidth
// limit SHOULD be assumed to be 4000 bits per second" (RFC 2974, Section 3.1).
const DefaultLimit = 4000

const minInterval = 300 * time.Second

// share returns how far apart announcements of size bytes are if ads of them share the limit: 8*no_of_ads*ad_size/limit.
func share(ads, size, limit int) time.Duration {
	return time.Duration(8 * int64(ads) * int64(size) * int64(time.Second) / int64(limit))
}

// interval returns the base announcement interval: "interval = max(300; (8*no_of_ads*ad_size)/limit)" (RFC 2974, Section
// 3.1).
func interval(ads, size, limit int) time.Duration { return max(minInterval, share(ads, size, limit)) }

// offset returns "offset = rand(interval * 2/3) - (interval/3)" (RFC 2974, Section 3.1), with u in [0,1) for the random
// number.
func offset(interval time.Duration, u float64) time.Duration {
	return time.Duration(u*float64(interval)*2/3) - interval/3
}

// lifetime returns how long an announcement that is not repeated is kept: "ten times the announcement period, or one hour,
// whichever is the greater" (RFC 2974, Section 4).
func lifetime(interval time.Duration) time.Duration { return max(10*interval, time.Hour) }
