package doctor

import "fmt"

// checkMTU judges whether what NORM sends passes in one piece.
func checkMTU(o *observed) Finding {
	need := o.config.SegmentSize + headerRoom
	headers := 28 // IP and UDP
	if !o.config.Group.Addr().Is4() {
		headers = 48
	}
	switch size := o.largest(); {
	case o.noFragment != nil:
		return Finding{Verdict: Unknown, Seen: "this system does not forbid fragments: " + o.noFragment.Error(), Remedy: "compare the MTU of all links with the segment size"}
	case len(o.sizes) == 0 && o.ifi.MTU > 0 && o.ifi.MTU < need+headers:
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("%s has MTU %d; segments of %d bytes need %d", o.ifi.Name, o.ifi.MTU, o.config.SegmentSize, need+headers),
			Remedy: fmt.Sprintf("send with --segment-size %d", o.ifi.MTU-headers-headerRoom)}
	case len(o.sizes) == 0:
		return nobody(o)
	case size == 0:
		return Finding{Verdict: Unknown, Seen: "no probe came, of whatever size", Remedy: "see feedback: the sender has to hear what is asked of it"}
	case size < need:
		return Finding{Verdict: Fault, Seen: fmt.Sprintf("the greatest packet that passes has about %d bytes; segments of %d need %d", size+headers, o.config.SegmentSize, need+headers),
			Remedy: fmt.Sprintf("send with --segment-size %d", (size-headerRoom)&^1)}
	}
	return Finding{Verdict: OK, Seen: fmt.Sprintf("packets of %d bytes pass whole, as segments of %d need", need+headers, o.config.SegmentSize)}
}

// tolerable is the loss of a burst that NORM repairs without much ado.
const tolerable = 0.02

// checkRate finds the knee: the rate at which loss begins.
func checkRate(o *observed) Finding {
	if len(o.rungs) == 0 {
		if o.groupHeard > 0 {
			return Finding{Verdict: Unknown, Seen: "no burst came", Remedy: "see mtu and feedback"}
		}
		return nobody(o)
	}
	below := 0.0 // the greatest rate without loss
	for _, r := range o.rungs {
		if r.loss() > tolerable {
			f := Finding{Verdict: Fault, Seen: fmt.Sprintf("%.0f %% lost at %s", r.loss()*100, mbits(float64(r.kbits)))}
			if f.Remedy = "look for loss on the path: it begins at the least rate tried"; below > 0 {
				f.Seen += fmt.Sprintf(", nothing much at %s", mbits(below))
				f.Remedy = fmt.Sprintf("send with --rate %.0fk", below)
			}
			return f
		}
		below = float64(r.kbits)
	}
	if asked := o.config.Rate / 1000; below < asked*0.99 {
		return Finding{Verdict: Warning, Seen: fmt.Sprintf("no loss up to %s; the doctor at the sender does not send faster", mbits(below)),
			Remedy: "give normsend doctor a greater --rate"}
	}
	return Finding{Verdict: OK, Seen: "no loss up to " + mbits(below)}
}
