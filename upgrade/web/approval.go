package web

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/api"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A signing is how far the signatures of approvers are, for the wave that is open.
type signing struct {
	Wave, Waves int // counted from 1
	Missing     int // so many more have to sign, at least
	List        string
	Lists       []approverList
}

// An approverList is people of whom so many have to sign.
type approverList struct {
	Threshold int
	People    []approver
}

type approver struct {
	Key    manifest.PublicKey
	Signed bool
}

// Signing returns who has to sign before the open wave commits; nil if nobody has to.
func (p campaignPage) Signing() *signing {
	if len(p.Snap.Approvers) == 0 || len(p.Snap.Waves) == 0 || decided(p) {
		return nil
	}
	open := p.OpenWave()
	wave := p.Snap.Waves[open]
	s := &signing{Wave: open + 1, Waves: len(p.Snap.Waves), Missing: wave.MissingApprovals, List: p.Snap.List}
	for _, by := range p.Snap.Approvers {
		l := approverList{Threshold: by.Threshold}
		for _, key := range by.Keys {
			l.People = append(l.People, approver{key, slices.Contains(wave.Approved, key)})
		}
		s.Lists = append(s.Lists, l)
	}
	return s
}

// unsigned returns how many approvers have to sign yet before the open wave can commit.
func (p campaignPage) unsigned() int {
	if s := p.Signing(); s != nil {
		return s.Missing
	}
	return 0
}

// addApproval takes signatures of approvers: files, or their text in base64.
func (s *Site) addApproval(v *visit, c store.Campaign) error {
	parts, err := v.upload()
	if err != nil {
		return err
	}
	taken := 0
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return &refusal{http.StatusBadRequest, "The upload was cut off. What came before it is kept."}
		}
		signed, err := io.ReadAll(http.MaxBytesReader(v.w, part, 2*commit.MaxApproval))
		if err != nil {
			return err
		}
		if part.FormName() == "text" {
			text := strings.Join(strings.Fields(string(signed)), "")
			if signed, err = base64.StdEncoding.DecodeString(text); err != nil {
				return &refusal{http.StatusUnprocessableEntity, "The text is no signature: it is what base64 prints of the file that normsend approve has written."}
			}
		}
		if len(bytes.TrimSpace(signed)) == 0 {
			continue // a field that was left empty
		}
		err = s.fleet.Agree(v.r.Context(), c.ID, signed, v.token.Name)
		switch {
		case errors.Is(err, commit.ErrUnknown), errors.Is(err, manifest.ErrSignature):
			return &refusal{http.StatusUnprocessableEntity, "The signature is not of somebody who is asked, or of another campaign, wave, release or list of devices."}
		case err != nil:
			return err
		}
		taken++
	}
	if taken == 0 {
		return &refusal{http.StatusUnprocessableEntity, "Choose the file that normsend approve has written, or paste it."}
	}
	return v.done("/campaigns/"+c.ID.String(), count(taken, "signature is", "signatures are")+" taken.")
}

// evidence gives what proves the campaign, as a file.
func (s *Site) evidence(v *visit, c store.Campaign) error {
	write, err := s.fleet.Evidence(v.r.Context(), c.ID)
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Disposition", `attachment; filename="campaign-`+c.ID.String()+`.evidence"`)
	api.Download(v.w, write)
	return nil
}
