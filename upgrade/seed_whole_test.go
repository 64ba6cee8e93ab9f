package upgrade_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/merkle"
	"github.com/multicast-upgrade/tool/upgrade"
)

// leavesOf makes an image of leaves that each come from a seed.
func leavesOf(seeds ...byte) (image []byte) {
	for _, s := range seeds {
		leaf := make([]byte, merkle.MinLeafSize)
		rand.NewChaCha8([32]byte{s}).Read(leaf)
		image = append(image, leaf...)
	}
	return image
}

// upTo returns 0, 1, … n-1.
func upTo(n int) (all []byte) {
	for i := range n {
		all = append(all, byte(i))
	}
	return all
}

// put gives an agent the image that it runs.
func (a *testAgent) put(t *testing.T, image []byte) {
	t.Helper()
	dir := filepath.Join(a.cfg.Dir, "current")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fw.bin"), image, 0o600); err != nil {
		t.Fatal(err)
	}
}

// upgradeFrom runs a campaign whose devices have older images, nil for none, and returns what share of the image's bytes the
// server has sent, headers and commands included, and the first device has heard.
func upgradeFrom(t *testing.T, image []byte, loss float64, old ...[]byte) (sent, heard float64) {
	r := newWholeRig(t, len(old), loss)
	r.cfg.Manifest, r.cfg.Images = signRelease(t, image, nil)
	for i, b := range old {
		r.agents[i].cfg.Hooks = nil
		if b != nil {
			r.agents[i].put(t, b)
		}
	}
	r.wantVerdict(r.all(), commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
	for _, a := range r.agents {
		if got, err := os.ReadFile(filepath.Join(a.cfg.Dir, "current", "fw.bin")); err != nil || !bytes.Equal(got, image) {
			t.Errorf("%s does not have the image: %v", a.cfg.Device, err)
		}
		if a.saw(upgrade.EventFallback) || a.saw(upgrade.EventLeafRejected) {
			t.Errorf("%s: %v", a.cfg.Device, a.kinds)
		}
	}
	total := float64(len(image))
	return float64(r.lan.sentBy(0)) / total, float64(r.agents[0].fetched) / total
}

// Devices have images that share nine tenths of their leaves with the new one. What is sent and received is the rest.
func TestUpgradeFromOlderImages(t *testing.T) {
	const n = 50
	image := upTo(n)
	changed := func(from, every int) []byte { // a tenth, scattered
		b := upTo(n)
		for i := from; i < n; i += every {
			b[i] += 100
		}
		return b
	}
	run := bytes.Clone(image) // a tenth in one piece
	for i := 20; i < 25; i++ {
		run[i] += 100
	}
	shifted := bytes.Clone(image[5:]) // all leaves at other places, five missing
	for _, test := range []struct {
		name      string
		loss      float64
		old       [][]byte
		most, few float64
	}{
		{"scattered", 0, [][]byte{changed(3, 10), changed(3, 10), changed(3, 10)}, 0.12, 0.10},
		{"scattered, with loss", 0.02, [][]byte{changed(3, 10), changed(3, 10), changed(3, 10)}, 0.125, 0.10},
		{"in one piece", 0, [][]byte{run, run, run}, 0.12, 0.10},
		{"at other places", 0, [][]byte{shifted, shifted}, 0.12, 0.10},
		{"the union of two", 0, [][]byte{changed(3, 10), run, changed(3, 10)}, 0.22, 0.18},
		{"the same", 0, [][]byte{image, image}, 0.01, 0},
		{"nothing in common", 0, [][]byte{changed(0, 1), changed(0, 1)}, 1.1, 1},
		{"one device has none", 0, [][]byte{changed(3, 10), nil}, 1.1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var old [][]byte
				for _, seeds := range test.old {
					if seeds == nil {
						old = append(old, nil)
						continue
					}
					old = append(old, leavesOf(seeds...))
				}
				sent, heard := upgradeFrom(t, leavesOf(image...), test.loss, old...)
				t.Logf("%.1f %% sent, %.1f %% received", 100*sent, 100*heard)
				if sent > test.most || sent < test.few || heard > test.most {
					t.Errorf("%.1f %% sent, %.1f %% received, want %.0f to %.0f", 100*sent, 100*heard, 100*test.few, 100*test.most)
				}
			})
		})
	}
}

// A seed is none of the agent's own: it may lack the image, or be what would be waited for.
func TestSeedsAreOnlyRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := leavesOf(upTo(20)...)
		r := newWholeRig(t, 1, 0)
		r.cfg.Manifest, r.cfg.Images = signRelease(t, image, func(m *manifest.Manifest) {})
		a := r.agents[0]
		a.cfg.Hooks = nil
		dir := t.TempDir()
		old := append(bytes.Clone(image[:15*merkle.MinLeafSize]), "the end"...)
		path := filepath.Join(dir, "fw.bin")
		if err := os.WriteFile(path, old, 0o400); err != nil {
			t.Fatal(err)
		}
		a.cfg.Seeds = []string{os.DevNull, filepath.Join(dir, "absent"), dir}
		r.wantVerdict(r.all(), commit.Commit, commit.ReasonNone, upgrade.ExitCommitted)
		if share := float64(r.lan.sentBy(0)) / float64(len(image)); share > 0.3 {
			t.Errorf("%.0f %% sent, want the quarter that the seed has not", 100*share)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, old) {
			t.Errorf("the seed was changed: %v", err)
		}
	})
}
