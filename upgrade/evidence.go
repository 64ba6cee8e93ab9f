package upgrade

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
)

// Evidence is what proves to anybody what became of a campaign, in one file: the signed release, the session description that
// was signed last, and the coordinator's log, in which are the votes and reports as devices signed them, the approvals, and the
// decisions. It holds no secrets. The file is
//
//	magic    "mcupgrade evidence 1\n"
//	parts    each as uint32 length, big-endian, and bytes: release, session description (empty if none was signed), records
//	         of the log in their order
//	end      a length of 0 in place of a record: the file is whole

// evidenceMagic begins a file of evidence.
const evidenceMagic = "mcupgrade evidence 1\n"

// ErrEvidence is wrapped when a file is no evidence of a campaign, or not all of it.
var ErrEvidence = errors.New("not the evidence of a campaign")

// WriteEvidence writes the evidence of a campaign. ReadLog gives its argument each record of the log, in order.
func WriteEvidence(w io.Writer, release, session []byte, readLog func(func(rec []byte) error) error) error {
	b := bufio.NewWriter(w)
	b.WriteString(evidenceMagic) // bufio keeps the first error
	part := func(p []byte) error {
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(p)))
		b.Write(length[:])
		_, err := b.Write(p)
		return err
	}
	part(release)
	part(session)
	if err := readLog(part); err != nil {
		return err
	}
	part(nil)
	return b.Flush()
}

// An Evidence is a file of evidence that is being read. Nothing of it is to be believed before signatures are held against it.
type Evidence struct {
	Release []byte // the signed manifest
	Session []byte // the signed session description; empty: none was signed
	records io.Reader
}

// OpenEvidence reads all but the log.
func OpenEvidence(r io.Reader) (*Evidence, error) {
	e := &Evidence{records: bufio.NewReader(r)}
	magic := make([]byte, len(evidenceMagic))
	if _, err := io.ReadFull(e.records, magic); err != nil || string(magic) != evidenceMagic {
		return nil, fmt.Errorf("%w: it begins with something else", ErrEvidence)
	}
	var err error
	if e.Release, err = readPart(e.records, manifest.MaxFile); err == nil {
		e.Session, err = readPart(e.records, manifest.MaxSession)
	}
	return e, err
}

// ReadLog gives f each record of the log, in order. The error wraps [ErrEvidence] if the end of the file is missing.
func (e *Evidence) ReadLog(f func(rec []byte) error) error {
	for {
		rec, err := readPart(e.records, commit.MaxRecord)
		if err != nil || len(rec) == 0 {
			return err
		}
		if err := f(rec); err != nil {
			return err
		}
	}
}

// Audit holds the evidence against signatures, for somebody who trusts the keys of one of these roots; see [AuditRelease].
// An error with an audit says that the log, or the session description, is not what it should be.
func (e *Evidence) Audit(trusted ...*manifest.Root) (a *commit.Audit, by *manifest.Root, err error) {
	if a, by, err = AuditRelease(e.Release, trusted...); err != nil {
		return nil, nil, err
	}
	if err := e.ReadLog(a.Record); err != nil {
		return a, by, err
	}
	if err := e.auditSession(a.Campaign(), by); err != nil {
		return a, by, fmt.Errorf("the session description: %w", err)
	}
	return a, by, nil
}

// auditSession returns why the session description is not one of the campaign that the server has signed.
func (e *Evidence) auditSession(id commit.CampaignID, by *manifest.Root) error {
	if len(e.Session) == 0 {
		return nil
	}
	s, err := manifest.OpenSession(e.Session, by.Server(e.Session), nil, time.Time{}) // it may well have expired
	if err != nil {
		return err
	}
	if s.Campaign != id {
		return fmt.Errorf("it is of campaign %s", s.Campaign)
	}
	m, _, err := manifest.OpenUnverified(e.Release)
	if err != nil {
		return err
	}
	return s.Describes(m)
}

func readPart(r io.Reader, most int) ([]byte, error) {
	var length [4]byte
	_, err := io.ReadFull(r, length[:])
	n := binary.BigEndian.Uint32(length[:])
	if err == nil && int64(n) > int64(most) {
		return nil, fmt.Errorf("%w: a part of %d bytes, limit %d", ErrEvidence, n, most)
	}
	part := make([]byte, n)
	if err == nil {
		_, err = io.ReadFull(r, part)
	}
	switch err {
	case nil:
		return part, nil
	case io.EOF, io.ErrUnexpectedEOF:
		return nil, fmt.Errorf("%w: its end is missing", ErrEvidence)
	}
	return nil, err
}
