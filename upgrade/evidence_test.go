package upgrade_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
)

// TestAttackEvidenceCutOff: a file that lacks its end, or any of it, proves nothing by leaving that out; neither does one with
// too much in one part, or of something else.
func TestAttackEvidenceCutOff(t *testing.T) {
	release, _ := signRelease(t, make([]byte, 1000), nil)
	m, _, err := manifest.OpenUnverified(release)
	if err != nil {
		t.Fatal(err)
	}
	trusted := &manifest.Root{Release: manifest.Keys{Keys: []manifest.PublicKey{releaseKey.Public()}, Threshold: 1}, Servers: []manifest.PublicKey{serverKey.Public()}}
	var recs [][]byte
	c, err := commit.OpenCoordinator(commit.CoordinatorConfig{Key: serverKey, Public: serverKey.Public(), Open: func(func([]byte) error) (commit.Log, error) {
		return appender(func(more ...[]byte) error { recs = append(recs, more...); return nil }), nil
	}})
	if err == nil {
		err = c.Start(commit.Plan{Campaign: commit.CampaignID{1}, Manifest: commit.Digest(m.Digest()), Roots: []commit.Digest{{1}},
			Targets: []commit.Target{{Device: "d1", Key: testKey(manifest.RoleDevice, "d1").Public()}}, Waves: []commit.Policy{{Deadline: m.Expires}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := upgrade.WriteEvidence(&b, release, nil, func(f func([]byte) error) error {
		for _, rec := range recs {
			if err := f(rec); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	audit, by, err := auditEvidence(b.Bytes(), trusted)
	if err != nil || by != trusted || len(audit.Targets()) != 1 || audit.Campaign() != (commit.CampaignID{1}) {
		t.Fatalf("whole: %v, %+v", err, audit)
	}
	for n := range b.Len() {
		if _, _, err := auditEvidence(b.Bytes()[:n], trusted); !errors.Is(err, upgrade.ErrEvidence) {
			t.Fatalf("the first %d of %d bytes: %v, want ErrEvidence", n, b.Len(), err)
		}
	}
	long := slices.Clone(b.Bytes())
	long[bytes.IndexByte(long, '\n')+1] = 0xff // of the first length
	for name, file := range map[string][]byte{"a part that is too long": long, "something else": []byte("mcupgrade log 1\nxxxxxxxxxxxxxxx")} {
		if _, _, err := auditEvidence(file, trusted); !errors.Is(err, upgrade.ErrEvidence) {
			t.Errorf("%s: %v, want ErrEvidence", name, err)
		}
	}
	trusted.Release.Keys = []manifest.PublicKey{testKey(manifest.RoleRelease, "mallory").Public()}
	if _, _, err := auditEvidence(b.Bytes(), trusted); !errors.Is(err, manifest.ErrSignature) {
		t.Errorf("a release that nobody trusted has signed: %v, want ErrSignature", err)
	}
}

func auditEvidence(file []byte, trusted *manifest.Root) (*commit.Audit, *manifest.Root, error) {
	e, err := upgrade.OpenEvidence(bytes.NewReader(file))
	if err != nil {
		return nil, nil, err
	}
	return e.Audit(trusted)
}

// An appender is a log that cannot be read again.
type appender func(recs ...[]byte) error

func (f appender) Append(recs ...[]byte) error { return f(recs...) }
