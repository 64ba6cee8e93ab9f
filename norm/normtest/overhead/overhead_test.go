package overhead

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/multicast-upgrade/tool/norm/fec"
)

func TestLeast(t *testing.T) {
	for _, test := range []struct {
		k, n    int
		p, want float64
	}{
		{1, 1, 0.5, 2}, // 1/(1-p)
		{10, 1, 0.2, 12.5},
		{1, 2, 0.5, 8. / 3},          // the later of two
		{64, 4, 0.05, 64 * 1.0839},   // the targets of the project
		{128, 4, 0.05, 128 * 1.0746}, //
		{200, 4, 0.05, 200 * 1.0701}, //
		{128, 100, 0, 128},
	} {
		if got := Least(test.k, test.n, test.p); math.Abs(got-test.want) > 5e-4*test.want {
			t.Errorf("Least(%d, %d, %g) = %g, want %g", test.k, test.n, test.p, got, test.want)
		}
	}
}

// TestLeastIsTheSum adds up binomial probabilities, as the formula has it.
func TestLeastIsTheSum(t *testing.T) {
	for _, test := range []struct {
		k, n int
		p    float64
	}{{128, 10_000, 0.2}, {64, 100, 0.05}, {5, 4, 0.5}} {
		want := float64(test.k)
		for m := test.k; m < test.k+1000; m++ {
			enough := 0.0
			for i := 0; i <= m-test.k; i++ {
				ways, _ := math.Lgamma(float64(m + 1))
				in, _ := math.Lgamma(float64(i + 1))
				out, _ := math.Lgamma(float64(m - i + 1))
				enough += math.Exp(ways - in - out + float64(i)*math.Log(test.p) + float64(m-i)*math.Log(1-test.p))
			}
			want += 1 - math.Pow(min(enough, 1), float64(test.n))
		}
		if got := Least(test.k, test.n, test.p); math.Abs(got-want) > 1e-6*want {
			t.Errorf("Least(%d, %d, %g) = %g, want %g", test.k, test.n, test.p, got, want)
		}
	}
}

func measure(t *testing.T, c Case) Result {
	t.Helper()
	c.Seed = 1
	r, err := c.Measure()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v, parity %d, %d receivers, %g loss: %.4f segments for one, least %.4f, %.1f NACKs per event, %.1f per block",
		c.Code, c.AutoParity, c.Receivers, c.Loss, r.Segments(), r.Least(), r.NacksPerCycle(), float64(r.Nacks)/float64(c.Blocks))
	return r
}

// TestOverhead holds what the default is chosen for: at 5 % loss and 4 receivers hardly more than the least, less than 1.08
// times the bytes without loss, and no more by adaptive parity than without it.
func TestOverhead(t *testing.T) {
	if testing.Short() {
		t.Skip("two times 150,000 segments")
	}
	c := Case{Code: fec.Default(), Receivers: 4, Loss: 0.05, Blocks: 1000}
	adaptive := measure(t, c)
	c.AutoParity = -1
	demand := measure(t, c)
	for _, r := range []Result{adaptive, demand} {
		got, err := (&Report{}).relative(r)
		if err != nil {
			t.Fatal(err)
		}
		// "leverage transmission of FEC parity content for repair to the greatest extent possible". N-5.4.2-01
		if got > 1.08 || r.Segments() > 1.01*r.Least() || r.Sender.Explicit > 0 {
			t.Errorf("%.4f times the bytes without loss, %.4f segments for one, %d explicit", got, r.Segments(), r.Sender.Explicit)
		}
	}
	if got, want := float64(adaptive.Sender.Bytes), float64(demand.Sender.Bytes); got > 1.001*want {
		t.Errorf("%.0f bytes with adaptive parity, %.0f without", got, want)
	}
	if 2*adaptive.Nacks > 3*demand.Nacks/2 {
		t.Errorf("%d NACKs with adaptive parity, %d without", adaptive.Nacks, demand.Nacks)
	}
}

// TestAdaptiveParitySparesNacks: where each of many receivers loses segments of its own, nothing suppresses their NACKs but
// that they need not be sent.
func TestAdaptiveParitySparesNacks(t *testing.T) {
	c := Case{Code: fec.Default(), Receivers: 1000, Loss: 0.01, Blocks: 128}
	if testing.Short() {
		c.Blocks = 64
	}
	adaptive := measure(t, c)
	c.AutoParity, c.Blocks = -1, 32
	demand := measure(t, c)
	if got, want := adaptive.NacksPerCycle(), demand.NacksPerCycle(); 3*got > want {
		t.Errorf("%.1f NACKs per repair event with adaptive parity, %.1f without: want a third", got, want)
	}
	if got, want := float64(adaptive.Nacks)/float64(adaptive.Blocks), float64(demand.Nacks)/float64(demand.Blocks); 3*got > want {
		t.Errorf("%.1f NACKs per block with adaptive parity, %.1f without: want a third", got, want)
	}
	if adaptive.Segments() > 1.005*demand.Segments() {
		t.Errorf("%.4f segments for one with adaptive parity, %.4f without", adaptive.Segments(), demand.Segments())
	}
}

// TestReport: the same seed gives the same table.
func TestReport(t *testing.T) {
	var tables [2]bytes.Buffer
	for i := range tables {
		if err := (&Report{W: &tables[i], Seed: 2}).Quick(); err != nil {
			t.Fatal(err)
		}
	}
	if got := tables[0].String(); got != tables[1].String() || strings.Count(got, "\n") != 4 || !strings.Contains(got, "| adaptive | 4 | 5 % | 1.07") {
		t.Errorf("tables:\n%s\n%s", got, &tables[1])
	}
}

func TestDraw(t *testing.T) {
	var svg bytes.Buffer
	if err := draw(&svg, map[string][]float64{"least": {1, 1.1, 1.2, 1.3, 9}}); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(&svg)
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
