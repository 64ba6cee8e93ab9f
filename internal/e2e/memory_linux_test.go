package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/multicast-upgrade/tool/internal/netns"
	"github.com/multicast-upgrade/tool/internal/resident"
)

// maxResident is what a receiver may take, in bytes, however large the file.
const maxResident = 32 << 20

// sparse makes a large file that takes little of the disk, different in each block, and returns its SHA-256.
func sparse(t testing.TB, path string, size int64) (sum string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for off := int64(0); off < size; off += 1 << 20 {
		if _, err := f.WriteAt(fmt.Appendf(nil, "MiB %d", off>>20), off); err != nil {
			t.Fatal(err)
		}
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(f, 0, size)); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// TestReceiverOfAGigabyteStaysSmall has a receiver lose 1 % of a large file that comes as fast as it can be taken.
func TestReceiverOfAGigabyteStaysSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	netns.Require(t)
	const size = 1_000_000_000
	dir := t.TempDir()
	path := filepath.Join(dir, "large.bin")
	sum := sparse(t, path, size)
	net := netns.New(t, 2)
	net.Host(1).Lose(netns.Loss{Share: 0.01, Port: 6003})
	receiver := start(t, net.Host(1), "normrecv", "file", "--group", "239.77.2.1:6003", "--interface", netns.Interface,
		"--out", filepath.Join(dir, "in"), "--count", "2") // two, so that it is still there when the first is complete
	receiver.awaitEvent("listening")
	start(t, net.Host(0), "normsend", "file", "--group", "239.77.2.1:6003", "--interface", netns.Interface,
		"--rate", "800M", "--grtt", "20ms", "--group-size", "10", path)
	e := receiver.awaitEvent("complete")
	if e["sha256"] != sum || e["size"] != float64(size) {
		t.Errorf("complete: %v; want %d bytes, SHA-256 %s", e, size, sum)
	}
	peak, err := resident.Peak(receiver.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MiB resident at the peak; %.1f s", float64(peak)/(1<<20), e["seconds"])
	if peak > maxResident {
		t.Errorf("%d bytes resident at the peak, more than %d", peak, maxResident)
	}
}
