package api

import (
	"context"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func (s server) releaseOf(r store.Release) rest.Release {
	m := r.Manifest
	return rest.Release{
		Id: r.ID.String(), Product: m.Product, Version: m.Version, Sequence: int64(m.Sequence), Epoch: int64(m.Epoch), Hardware: m.Hardware,
		Created: m.Created, Expires: m.Expires, Uploaded: byOf(r.Uploaded),
		Images: each(m.Images, func(im manifest.Image) rest.Image {
			return rest.Image{Name: im.Name, Size: im.Size, Sha256: im.SHA256.String(), Present: !slices.Contains(r.Missing, im.Name), Sealed: im.Sealed != nil}
		}),
		FileKeys: r.FileKeys, Approvers: each(s.fleet.Approvers(m), approversOf),
	}
}

func (s server) ListReleases(ctx context.Context, r rest.ListReleasesRequestObject) (rest.ListReleasesResponseObject, error) {
	page, err := sorted(r.Params.Order, r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	l, err := s.store.Releases(ctx, r.Params.Product, page)
	return rest.ListReleases200JSONResponse{Items: each(l.Items, s.releaseOf), Next: l.Next}, err
}

func (s server) CreateRelease(ctx context.Context, r rest.CreateReleaseRequestObject) (rest.CreateReleaseResponseObject, error) {
	signed, err := io.ReadAll(r.Body) // which was bounded
	if err != nil {
		return nil, err
	}
	release, err := s.fleet.AddRelease(ctx, signed, actor(ctx))
	if err != nil {
		return nil, err
	}
	return rest.CreateRelease201JSONResponse(s.releaseOf(release)), nil
}

func (s server) ShowRelease(ctx context.Context, r rest.ShowReleaseRequestObject) (rest.ShowReleaseResponseObject, error) {
	id, err := digestOf(string(r.Release))
	if err != nil {
		return nil, err
	}
	release, err := s.store.Release(ctx, id)
	if err != nil {
		return nil, err
	}
	return rest.ShowRelease200JSONResponse(s.releaseOf(release)), nil
}

func (s server) DeleteRelease(ctx context.Context, r rest.DeleteReleaseRequestObject) (rest.DeleteReleaseResponseObject, error) {
	id, err := digestOf(string(r.Release))
	if err == nil {
		err = s.fleet.RemoveRelease(ctx, id, actor(ctx))
	}
	return rest.DeleteRelease204Response{}, err
}

func (s server) UploadImage(ctx context.Context, r rest.UploadImageRequestObject) (rest.UploadImageResponseObject, error) {
	id, err := digestOf(string(r.Release))
	if err != nil {
		return nil, err
	}
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	default:
		busy := refuse(http.StatusServiceUnavailable, rest.ReasonBusy, "%d uploads are under way", maxUploads)
		busy.retry = 10 * time.Second
		return nil, busy
	}
	release, err := s.store.Release(ctx, id)
	if err != nil {
		return nil, err
	}
	body := r.Body
	for _, im := range release.Manifest.Images {
		if im.Name == r.Image {
			body = &bounded{r: body, left: im.Size}
		}
	}
	return rest.UploadImage204Response{}, s.fleet.AddImage(ctx, id, r.Image, body, actor(ctx))
}

func (s server) UploadFileKeys(ctx context.Context, r rest.UploadFileKeysRequestObject) (rest.UploadFileKeysResponseObject, error) {
	id, err := digestOf(string(r.Release))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r.Body) // which was bounded
	if err != nil {
		return nil, err
	}
	keys, err := manifest.ParseFileKeys(text)
	if err != nil {
		return nil, err
	}
	return rest.UploadFileKeys204Response{}, s.fleet.AddFileKeys(ctx, id, keys, actor(ctx))
}

// bounded is the body of an upload: longer than the image, it is refused when the first byte too many comes.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &http.MaxBytesError{}
	}
	return n, err
}
