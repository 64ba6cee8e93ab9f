package upgrade

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/manifest"
	"golang.org/x/net/netutil"
)

// A Gateway offers what an agent has proved to others of its site: the images in DIR/current by name, to whoever can do
// no more than fetch a file, and the verified parts of its campaign to other agents, which prove them again. It takes no
// vote, no report and no other message: what it hears is which bytes are wanted.
type Gateway struct {
	// Unsealed is whether images that came sealed, which is to say encrypted, are given to whoever fetches a file here.
	// What other agents fetch is what was received, as it was.
	Unsealed bool

	a *Agent

	mu     sync.Mutex
	hashed map[string]hashedFile // by image name
}

// A hashedFile is a file in DIR/current whose bytes were hashed, whatever came of it: whoever asks again and again for what is
// not the image any more costs no more than the answer.
type hashedFile struct {
	digest manifest.Digest
	size   int64
	at     time.Time // of its last change
}

// Gateway returns the gateway of the agent.
func (a *Agent) Gateway() *Gateway { return &Gateway{a: a, hashed: make(map[string]hashedFile)} }

// An offer is what a gateway has of a campaign. It does not change.
type offer struct {
	campaign string
	objects  manifest.Objects
	release  *manifest.Manifest
	fs       disk.FS
	hashes   string // name of the hash list
	image    func(im *manifest.Image) string
	stage    *stage // on its way; nil: all is verified
}

// stageOffer offers a stage, or, without one, what was verified of it before.
func (a *Agent) stageOffer(c *campaign, objects manifest.Objects, st *stage) *offer {
	dir, fsys := stageDir(c.release.Digest()), a.stageFS(a.ctx, c.release)
	return &offer{campaign: c.round.Campaign.String(), objects: objects, release: c.release, fs: fsys,
		hashes: dir + "/hashes", image: func(im *manifest.Image) string { return receivedName(fsys, dir, im) }, stage: st}
}

// offerHeld offers what the agent holds when it starts: the stage of a round under way, or the release that runs.
func (a *Agent) offerHeld() {
	if c := a.held; c != nil && c.err == nil {
		if a.p.Status().Current.State == commit.StateReady && c.session != nil {
			a.offered.Store(a.stageOffer(c, c.session.Objects, nil))
		}
		return
	}
	if last := a.p.Status().Last; last.State == commit.StateCommitted {
		a.offerRunning(last.Round)
	}
}

// offerRunning offers the images that were moved to DIR/current, which the devices of the campaign may still lack. Of sealed
// images there is the plaintext only, which is not what devices ask for.
func (a *Agent) offerRunning(round commit.Round) {
	m, err := a.running()
	if err != nil || m.Digest() != round.Manifest || !exists(a.fs, runningHashes) {
		return // an activate hook has them
	}
	if len(m.Sealed()) > 0 {
		a.offered.Store(nil)
		return
	}
	a.offered.Store(&offer{campaign: round.Campaign.String(), objects: manifest.ObjectsFor(len(m.Images)), release: m, fs: a.fs,
		hashes: runningHashes, image: func(im *manifest.Image) string { return currentDir + "/" + im.Name }})
}

// running returns the release that was committed last.
func (a *Agent) running() (*manifest.Manifest, error) {
	signed, err := disk.ReadFile(a.fs, runningName, manifest.MaxFile)
	if err != nil {
		return nil, err
	}
	return manifest.OpenSigned(signed, a.trust().Release)
}

// has reports whether bytes of an object are verified.
func (o *offer) has(object int, s span) bool {
	if o.stage == nil {
		return true
	}
	if object == hashObject {
		for _, piece := range o.stage.hashes.missing() {
			if piece.Offset < s.off+s.length && s.off < piece.Offset+piece.Length {
				return false
			}
		}
		return true
	}
	im := o.stage.images[object]
	for leaf := s.off / im.entry.LeafSize; leaf*im.entry.LeafSize < s.off+s.length; leaf++ {
		if !im.verified(int(leaf)) {
			return false
		}
	}
	return true
}

// object returns which object a NormTransportId is, its file, and its size.
func (o *offer) object(toi uint16) (object int, name string, size int64, ok bool) {
	if toi == o.objects.Hashes {
		return hashObject, o.hashes, o.release.HashListSize(), true
	}
	for i, id := range o.objects.Images {
		if id == toi {
			return i, o.image(&o.release.Images[i]), o.release.Images[i].Size, true
		}
	}
	return 0, "", 0, false
}

// Handler returns what is served by HTTP:
//
//	GET /images/NAME                        an image in DIR/current, with ranges, and its SHA-256 in Repr-Digest (RFC 9530)
//	GET /images/SHA256SUMS                  their names and digests, as sha256sum reads them
//	GET /v1/campaigns/ID/objects/TOI        a range of an object, as the server has it; 503 while it is not here
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /images/{name}", g.serveImage)
	mux.HandleFunc("GET /images/SHA256SUMS", g.serveSums)
	mux.HandleFunc("GET /v1/campaigns/{campaign}/objects/{toi}", g.serveObject)
	return mux
}

// maxGatewayConnections bounds those to a gateway: one for each device of a site, and more wait.
const maxGatewayConnections = 256

// Serve answers by HTTP until ctx ends. It closes l.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) {
	wait := serveHTTP(ctx, g.a.log, netutil.LimitListener(l, maxGatewayConnections), g.Handler(), nil)
	<-ctx.Done()
	wait()
}

const (
	// gatewayWait is how long a request waits for bytes that are on their way, and gatewayLook the time between two looks.
	gatewayWait = 20 * time.Second
	gatewayLook = 250 * time.Millisecond
	// gatewayAnswer is the time for an answer, which may go over a slow line.
	gatewayAnswer = 10 * time.Minute
)

func (g *Gateway) serveObject(w http.ResponseWriter, r *http.Request) {
	toi, err := strconv.ParseUint(r.PathValue("toi"), 10, 16)
	if err != nil {
		http.Error(w, "no such object", http.StatusNotFound)
		return
	}
	for end := time.Now().Add(gatewayWait); ; {
		o := g.a.offered.Load()
		if o == nil || o.campaign != r.PathValue("campaign") {
			http.Error(w, "not the campaign of this gateway", http.StatusNotFound)
			return
		}
		object, name, size, ok := o.object(uint16(toi))
		if !ok {
			http.Error(w, "no such object", http.StatusNotFound)
			return
		}
		want, ok := rangeOf(r, size)
		if !ok {
			http.Error(w, "one range of bytes, first to last", http.StatusRequestedRangeNotSatisfiable)
			return
		}
		if o.has(object, want) {
			serveFile(w, r, o.fs, name, size)
			return
		}
		if time.Now().After(end) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "it is on its way", http.StatusServiceUnavailable)
			return
		}
		if !pause(r.Context(), gatewayLook) {
			return
		}
	}
}

// rangeOf returns the bytes that a request is for: all, or one range of the form that agents ask for.
func rangeOf(r *http.Request, size int64) (span, bool) {
	header := r.Header.Get("Range")
	if header == "" {
		return span{0, size}, true
	}
	var first, last int64
	if n, err := fmt.Sscanf(header, "bytes=%d-%d", &first, &last); n != 2 || err != nil || first < 0 || last < first || last >= size ||
		header != fmt.Sprintf("bytes=%d-%d", first, last) {
		return span{}, false
	}
	return span{first, last - first + 1}, true
}

func serveFile(w http.ResponseWriter, r *http.Request, fsys disk.FS, name string, size int64) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		http.Error(w, "it cannot be read now", http.StatusServiceUnavailable) // moved at this moment
		return
	}
	defer f.Close()
	serveContent(w, r, f, size)
}

func serveContent(w http.ResponseWriter, r *http.Request, f io.ReaderAt, size int64) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(gatewayAnswer))
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(f, 0, size))
}

func (g *Gateway) serveImage(w http.ResponseWriter, r *http.Request) {
	f, im, err := g.openImage(r.PathValue("name"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "no such image", http.StatusNotFound)
		return
	case errors.Is(err, errSealed):
		http.Error(w, errSealed.Error(), http.StatusForbidden)
		return
	case err != nil:
		http.Error(w, "it cannot be read now", http.StatusServiceUnavailable)
		return
	}
	defer f.Close()
	size, digest := im.Plain()
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, digest[:]))
	w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(digest[:])+":")
	serveContent(w, r, f, size)
}

func (g *Gateway) serveSums(w http.ResponseWriter, _ *http.Request) {
	m, err := g.a.running()
	if err != nil {
		http.Error(w, "no image was committed here", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for i := range m.Images {
		im := &m.Images[i]
		if exists(g.a.fs, currentDir+"/"+im.Name) && g.gives(im) {
			_, digest := im.Plain()
			fmt.Fprintf(w, "%x  %s\n", digest[:], im.Name)
		}
	}
}

// gives reports whether an image may be fetched by whoever asks.
func (g *Gateway) gives(im *manifest.Image) bool { return im.Sealed == nil || g.Unsealed }

// OpenImage opens a committed image by its name. The error is fs.ErrNotExist if there is none.
func (g *Gateway) OpenImage(name string) (disk.File, error) {
	f, _, err := g.openImage(name)
	return f, err
}

var (
	errBeingReplaced = errors.New("the image is being replaced")
	errSealed        = errors.New("the image came sealed, and this gateway does not give away what was in it")
)

// openImage opens an image of the release that was committed last, whose bytes are proved to be what was signed. It stays
// what it is while it is open: the next one takes its name, not its place.
func (g *Gateway) openImage(name string) (disk.File, *manifest.Image, error) {
	m, err := g.a.running()
	if err != nil {
		return nil, nil, err
	}
	for i := range m.Images {
		if im := &m.Images[i]; im.Name == name {
			if !g.gives(im) {
				return nil, nil, errSealed
			}
			f, err := g.openProved(im)
			return f, im, err
		}
	}
	return nil, nil, fs.ErrNotExist
}

// openProved opens an image, which is hashed if it was not since its last change.
func (g *Gateway) openProved(im *manifest.Image) (_ disk.File, err error) {
	name := currentDir + "/" + im.Name
	info, err := g.a.fs.Stat(name)
	if err != nil {
		return nil, err
	}
	f, err := g.a.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	size, want := im.Plain()
	if info.Size() != size {
		return nil, errBeingReplaced
	}
	g.mu.Lock() // one image is hashed at a time
	defer g.mu.Unlock()
	is := hashedFile{g.hashed[im.Name].digest, size, info.ModTime()}
	if g.hashed[im.Name] != is {
		if is.digest, err = digestOf(f, size); err != nil {
			return nil, err
		}
	}
	if again, err := g.a.fs.Stat(name); err != nil || again.ModTime() != info.ModTime() || again.Size() != size {
		return nil, errBeingReplaced
	}
	if g.hashed[im.Name] = is; is.digest != want {
		return nil, errBeingReplaced
	}
	return f, nil
}
