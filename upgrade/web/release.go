package web

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A releasesPage is what releases.html shows.
type releasesPage struct {
	Releases []store.Release
	Product  string
	Sort     sorting
	Pages    pager
}

func (s *Site) releases(v *visit) error {
	p := releasesPage{Product: strings.TrimSpace(v.r.FormValue("product")), Sort: v.sorting("-uploaded")}
	l, err := s.store.Releases(v.r.Context(), p.Product, p.Sort.page(v, 50))
	if err != nil {
		return err
	}
	p.Releases, p.Pages = l.Items, v.pager(l.Next)
	v.show(http.StatusOK, "releases.html", "Releases", p)
	return nil
}

// A releasePage is what release.html shows.
type releasePage struct {
	store.Release
	Expired   bool
	Campaigns []store.Campaign
	Approvers []fleet.Approvers
}

// NoKeys reports whether images are sealed whose file keys the server does not have.
func (p releasePage) NoKeys() bool { return len(p.Manifest.Sealed()) > 0 && !p.FileKeys }

// IsMissing reports whether an image is not uploaded yet.
func (p releasePage) IsMissing(image string) bool { return slices.Contains(p.Missing, image) }

// findRelease returns the release that the path names.
func (s *Site) findRelease(v *visit) (store.Release, error) {
	id, err := parseDigest(v.r.PathValue("id"))
	if err != nil {
		return store.Release{}, err
	}
	return s.store.Release(v.r.Context(), id)
}

func parseDigest(text string) (d manifest.Digest, err error) {
	if d, err = manifest.ParseDigest(text); err != nil {
		return d, store.ErrNotFound
	}
	return d, nil
}

func (s *Site) release(v *visit) error {
	r, err := s.findRelease(v)
	if err != nil {
		return err
	}
	campaigns, err := s.store.Campaigns(v.r.Context(), store.CampaignFilter{Release: r.ID}, store.Page{Limit: 50, Order: "-created"})
	if err != nil {
		return err
	}
	p := releasePage{Release: r, Expired: r.Manifest.CheckExpiry(time.Now()) != nil, Campaigns: campaigns.Items, Approvers: s.fleet.Approvers(r.Manifest)}
	v.show(http.StatusOK, "release.html", r.Manifest.Product+" "+r.Manifest.Version, p)
	return nil
}

// patience is how long an upload may stand still.
const patience = time.Minute

// upload returns the parts of an upload, which may take as long as it goes on.
func (v *visit) upload() (*multipart.Reader, error) {
	v.r.Body = &patientBody{v.r.Body, http.NewResponseController(v.w)}
	parts, err := v.r.MultipartReader()
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "That is not an upload of files."}
	}
	return parts, nil
}

// A patientBody may be read for as long as something comes.
type patientBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b *patientBody) Read(p []byte) (int, error) {
	end := time.Now().Add(patience)
	if err := errors.Join(b.rc.SetReadDeadline(end), b.rc.SetWriteDeadline(end)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

// addRelease takes a manifest, and the images that come after it. One that is there already is gone on with.
func (s *Site) addRelease(v *visit) error {
	parts, err := v.upload()
	if err != nil {
		return err
	}
	part, err := parts.NextPart()
	if err != nil || part.FormName() != "manifest" || part.FileName() == "" {
		return &refusal{http.StatusUnprocessableEntity, "Choose the signed manifest of the release, which normsend sign has made: fw.manifest."}
	}
	signed, err := io.ReadAll(http.MaxBytesReader(v.w, part, manifest.MaxFile))
	if err != nil {
		return err
	}
	m, _, err := manifest.OpenUnverified(signed)
	if err != nil {
		return &refusal{http.StatusUnprocessableEntity, "The file is not a signed manifest. It is the one that normsend sign writes: fw.manifest."}
	}
	r, err := s.fleet.AddRelease(v.r.Context(), signed, v.token.Name)
	if errors.Is(err, store.ErrExists) {
		r, err = s.store.Release(v.r.Context(), m.Digest())
	}
	if err != nil {
		return err
	}
	return s.takeImages(v, r, parts)
}

func (s *Site) addImages(v *visit) error {
	r, err := s.findRelease(v)
	if err != nil {
		return err
	}
	parts, err := v.upload()
	if err != nil {
		return err
	}
	return s.takeImages(v, r, parts)
}

// takeImages takes the files of an upload for the images of a release that have their names; a single one may have any.
func (s *Site) takeImages(v *visit, r store.Release, parts *multipart.Reader) error {
	page := "/releases/" + r.ID.String()
	missing := slices.Clone(r.Missing)
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return &refusal{http.StatusBadRequest, "The upload was cut off. What came before it is kept: go on with the files that are missing."}
		}
		if part.FileName() == "" {
			continue // a field without a file
		}
		name := r.Manifest.ImageOf(path.Base(part.FileName()))
		if strings.HasSuffix(name, ".seal") && len(r.Manifest.Sealed()) > 0 {
			if err := s.takeFileKeys(v, r, part); err != nil {
				_, text := explain(err)
				return v.done(page, fmt.Sprintf("%s was not taken. %s", name, text))
			}
			r.FileKeys = true
			continue
		}
		if !slices.Contains(missing, name) {
			if len(r.Manifest.Images) > 1 || len(missing) != 1 {
				return v.done(page, fmt.Sprintf("%.70q is not one of the images that are missing: %s.", name, strings.Join(missing, ", ")))
			}
			name = missing[0]
		}
		if err := s.fleet.AddImage(v.r.Context(), r.ID, name, part, v.token.Name); err != nil {
			_, text := explain(err)
			return v.done(page, fmt.Sprintf("%s was not taken. %s", name, text))
		}
		missing = slices.DeleteFunc(missing, func(m string) bool { return m == name })
	}
	if len(missing) > 0 {
		return v.done(page, "The manifest is there. Its images are still to be uploaded.")
	}
	if len(r.Manifest.Sealed()) > 0 && !r.FileKeys {
		return v.done(page, "The images are there. They are sealed: their file keys, fw.seal, are still to be uploaded.")
	}
	return v.done(page, "The release is complete.")
}

// takeFileKeys takes the file keys of sealed images, which normsend sign has written beside the manifest.
func (s *Site) takeFileKeys(v *visit, r store.Release, part io.ReadCloser) error {
	text, err := io.ReadAll(http.MaxBytesReader(v.w, part, 4<<10))
	if err != nil {
		return err
	}
	keys, err := manifest.ParseFileKeys(text)
	if err != nil {
		return err
	}
	return s.fleet.AddFileKeys(v.r.Context(), r.ID, keys, v.token.Name)
}

func (s *Site) askRemoveRelease(v *visit) error {
	r, err := s.findRelease(v)
	if err != nil {
		return err
	}
	page := "/releases/" + r.ID.String()
	return v.ask(question{Title: "Remove release " + r.Manifest.Version, Danger: true, Button: "Remove it", Action: page + "/remove", Back: page,
		Lines: []string{"The manifest and " + count(len(r.Manifest.Images), "image", "images") + " are removed from this server. Devices keep what they run."}})
}

func (s *Site) removeRelease(v *visit) error {
	r, err := s.findRelease(v)
	if err != nil {
		return err
	}
	err = s.fleet.RemoveRelease(v.r.Context(), r.ID, v.token.Name)
	if errors.Is(err, store.ErrState) {
		return &refusal{http.StatusConflict, "There are campaigns with this release, so it stays."}
	}
	if err != nil {
		return err
	}
	return v.done("/releases", "Release "+r.Manifest.Version+" is removed.")
}
