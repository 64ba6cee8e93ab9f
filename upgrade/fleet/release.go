package fleet

import (
	"context"
	"io"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// AddRelease takes a signed manifest that enough trusted release keys have signed, and that has not expired. Its images
// follow.
func (s *Server) AddRelease(ctx context.Context, signed []byte, actor string) (store.Release, error) {
	m, err := manifest.OpenSigned(signed, s.cfg.Trust)
	if err == nil {
		err = m.CheckExpiry(time.Now())
	}
	if err != nil {
		return store.Release{}, err
	}
	r, err := s.store.AddRelease(ctx, signed, s.by(actor))
	s.hub.changed(Changes{Releases: true})
	return r, err
}

// AddImage takes an image of a release from r as it comes, without holding it in memory. If it is not the one of the
// manifest, to the last leaf ([manifest.ErrImage]), nothing of it stays.
func (s *Server) AddImage(ctx context.Context, release manifest.Digest, name string, r io.Reader, actor string) error {
	rel, err := s.store.Release(ctx, release)
	if err != nil {
		return err
	}
	for i := range rel.Manifest.Images {
		if im := &rel.Manifest.Images[i]; im.Name == name {
			m := newMatcher(im, r)
			defer m.close()
			r = m
		}
	}
	err = s.store.AddImage(ctx, release, name, r, s.by(actor)) // which knows no other names
	s.hub.changed(Changes{Releases: true})
	return err
}

// RemoveRelease removes a release that no campaign has.
func (s *Server) RemoveRelease(ctx context.Context, release manifest.Digest, actor string) error {
	err := s.store.RemoveRelease(ctx, release, s.by(actor))
	s.hub.changed(Changes{Releases: true})
	return err
}

// A matcher reads an image and compares it with the manifest as it passes: its end is an error if it is another one.
type matcher struct {
	r       io.Reader
	w       *io.PipeWriter
	matched chan error // buffered, one
}

func newMatcher(im *manifest.Image, r io.Reader) *matcher {
	pr, pw := io.Pipe()
	m := &matcher{r: r, w: pw, matched: make(chan error, 1)}
	go func() {
		_, err := im.Match(pr)
		m.matched <- err
		pr.CloseWithError(err) // what is longer than the image is read no further
	}()
	return m
}

func (m *matcher) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if n > 0 {
		if _, err := m.w.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	if err == io.EOF {
		m.w.Close()
		if wrong := <-m.matched; wrong != nil {
			m.matched <- wrong // for who reads again
			return 0, wrong
		}
		m.matched <- nil
	}
	return n, err
}

// close ends the comparison of an upload that was cut off.
func (m *matcher) close() { m.w.CloseWithError(io.ErrUnexpectedEOF) }
