package upgrade

import (
	"testing"

	"github.com/multicast-upgrade/tool/norm/fec"
)

// TestDescriptionCarriesCode: devices take the code from the session description alone, so it must say all of it.
func TestDescriptionCarriesCode(t *testing.T) {
	for _, spec := range []string{"none", "none:1000", "rs8:64,32", "rs8-2:64,32", "rs8-129:64,32", "rs16:64,32", "rs16:1000,200"} {
		p, err := fec.ParseSpec(spec)
		if err != nil {
			t.Fatal(err)
		}
		p.SegmentSize = 1400
		if got := paramsOf(describeFEC(p)); got != p {
			t.Errorf("%s: %+v became %+v", spec, p, got)
		}
	}
}
