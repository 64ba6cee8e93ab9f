package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// Four devices that belong to the group open the images and commit; one that does not is refused at once, and all are told why.
func TestUpgradeOfSealedImages(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 5, fleetImage)
	f.normsend("sign", "--key", f.path("keys/release.key"), "--product", "lamp", "--version", "2.2", "--compatible", "rev-b", "--seal",
		"--out", f.path("fw.manifest"), f.image)
	for _, group := range []string{"lamps", "others"} {
		f.normsend("keygen", "--role", "seal", "--out", f.path(group))
	}
	outsider := f.devices[4]
	for _, d := range f.devices {
		key := f.path("lamps.key")
		if d == outsider {
			key = f.path("others.key")
		}
		d.args = append(d.args, "--seal-key", key)
	}
	f.image += ".age" // is what is sent
	f.join()
	server := f.serve("--quorum", "80", "--seal", f.path("fw.seal"), "--seal-to", f.path("lamps.pub"))
	server.await("a refusal", func(e event) bool { return deviceIn(outsider.name, "refused")(e) && e["reason"] == "no-key" })
	server.wantExit(4)
	for _, d := range f.devices {
		if d == outsider {
			d.wantExit(1)
			d.wantCalls()
			if e := d.awaitEvent("refused"); e["reason"] != "no-key" || len(d.all("receiving")) > 0 {
				t.Errorf("%s: %v, and it received: %v", d.name, e, len(d.all("receiving")) > 0)
			}
			continue
		}
		d.wantExit(0)
		d.wantCalls("verify", "activate", "health")
		staged, err := filepath.Glob(filepath.Join(d.dir, "stage", "*", "image", "fw.bin"))
		if err != nil || len(staged) != 1 {
			t.Fatalf("%s: staged %v, %v", d.name, staged, err)
		}
		image, err := os.ReadFile(staged[0])
		if sum := sha256.Sum256(image); err != nil || hex.EncodeToString(sum[:]) != f.sum {
			t.Errorf("%s: what its hooks were given is not the image: %d bytes, %v", d.name, len(image), err)
		}
	}
}
