package commit_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// auditedLog is the log of a campaign of two devices, of which anna has agreed to the COMMIT.
func auditedLog(t testing.TB) [][]byte {
	log := &memoryLog{}
	p := plan("d1", "d2")
	p.Approvers = []manifest.Approvers{approvers(1, "anna")}
	c := startCoordinator(t, log, p)
	must(t, receive(t, c, at(1), ready("d1", 1)))
	must(t, receive(t, c, at(2), ready("d2", 1)))
	must(t, c.Agree(at(3), approval("anna", nil, "d1", "d2")))
	wantVerdict(t, c, at(3), commit.Commit)
	must(t, receive(t, c, at(4), report("d1", 2, commit.StateCommitted, "")))
	must(t, receive(t, c, at(5), report("d2", 2, commit.StateRolledBack, commit.ReasonHealth)))
	return log.recs
}

// audit holds records against what the auditor trusts.
func audit(recs [][]byte) (*commit.Audit, error) {
	a := commit.NewAudit([]manifest.PublicKey{serverKey.Public()}, release, []manifest.Approvers{approvers(1, "anna")})
	for _, rec := range recs {
		if err := a.Record(rec); err != nil {
			return a, err
		}
	}
	return a, nil
}

func TestAudit(t *testing.T) {
	a, err := audit(auditedLog(t))
	must(t, err)
	if !a.Holds() || a.Campaign() != campaign {
		t.Errorf("%+v %+v", a.Waves(), a.Devices())
	}
	if w := a.Waves()[0]; w.Verdict != commit.Commit || w.Decision != commit.ProofVerified || w.Approvals != commit.ProofVerified {
		t.Errorf("wave %+v", w)
	}
	for i, want := range []commit.State{commit.StateCommitted, commit.StateRolledBack} {
		if d := a.Devices()[i]; d.State != want || d.Vote != commit.ProofVerified || d.Result != commit.ProofVerified {
			t.Errorf("device %+v", d)
		}
	}
	other := commit.NewAudit([]manifest.PublicKey{testKey(manifest.RoleServer, "other").Public()}, release, nil)
	for _, rec := range auditedLog(t) {
		must(t, other.Record(rec))
	}
	if other.Holds() || other.Waves()[0].Decision != commit.ProofWrong {
		t.Error("a decision by a server that is not trusted was verified")
	}
	if err := commit.NewAudit([]manifest.PublicKey{serverKey.Public()}, commit.Digest{1}, nil).Record(auditedLog(t)[0]); err == nil {
		t.Error("the log of another release was taken")
	}
}

// TestAttackTamperedRecord changes each byte string and each text of each record, as a server could that keeps the log, and
// takes each record out. What was said by devices, decided or agreed to does not verify then.
func TestAttackTamperedRecord(t *testing.T) {
	whole := auditedLog(t)
	tampered := 0
	for i, rec := range whole {
		var fields map[int]any
		if err := cbor.Unmarshal(rec, &fields); err != nil {
			t.Fatal(err)
		}
		const approvalField = 12 // which the decision repeats, and only that is proof
		if _, ok := fields[approvalField]; ok {
			continue
		}
		for _, spoil := range spoilings(fields) {
			recs := append(append([][]byte{}, whole[:i]...), spoil)
			recs = append(recs, whole[i+1:]...)
			tampered++
			if a, err := audit(recs); err == nil && a.Holds() {
				t.Errorf("record %d as %x holds", i, spoil)
			}
		}
	}
	if tampered < 16 {
		t.Errorf("only %d changes", tampered)
	}
	// Without what a device has signed nothing is proved of it; the record cannot be passed off as that of a device without key.
	for i, rec := range whole {
		var fields map[int]any
		if err := cbor.Unmarshal(rec, &fields); err != nil {
			t.Fatal(err)
		}
		message, ok := fields[4].(map[any]any)
		if !ok {
			continue
		}
		delete(message, uint64(3))
		recs := append([][]byte{}, whole...)
		recs[i] = encodeRecord(fields)
		if a, err := audit(recs); err == nil && a.Holds() {
			t.Errorf("record %d without its evidence holds", i)
		}
	}
}

// spoilings returns the record with one bit changed in each byte string and text of it. What stands in lists is left out: the
// policies and approvers of a plan, which nobody signs.
func spoilings(fields map[int]any) (all [][]byte) {
	var at int // which string is changed
	var spoil func(v map[any]any) bool
	spoil = func(v map[any]any) bool {
		for k := uint64(1); k < 16; k++ {
			var changed any
			switch x := v[k].(type) {
			case []byte:
				x = append([]byte{}, x...)
				x[len(x)/2] ^= 1
				changed = x
			case string:
				b := []byte(x)
				b[len(b)/2] ^= 1
				changed = string(b)
			case map[any]any:
				if spoil(x) {
					return true
				}
				continue
			default:
				continue
			}
			if at--; at < 0 {
				v[k] = changed
				return true
			}
		}
		return false
	}
	for n := 0; ; n++ {
		var copied map[any]any
		if err := cbor.Unmarshal(encodeRecord(fields), &copied); err != nil {
			panic(err)
		}
		if at = n; !spoil(copied) {
			return all
		}
		all = append(all, encodeRecord(copied))
	}
}

func encodeRecord(fields any) []byte {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	b, err := mode.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return b
}

// TestAuditOfAStrangersMessage: a record that does not belong here is named, as whose it is.
func TestAuditOfAStrangersMessage(t *testing.T) {
	log := &memoryLog{}
	c := startCoordinator(t, log, plan("d1", "d2", "d3"))
	must(t, receive(t, c, at(1), ready("d3", 1)))
	theirs := log.recs[len(log.recs)-1]
	_, err := audit(append(slices.Clone(auditedLog(t)), theirs))
	if !errors.Is(err, commit.ErrRecord) || !strings.Contains(err.Error(), `"d3"`) || strings.Contains(err.Error(), "%!") {
		t.Errorf("%v", err)
	}
}
