package fleet_test

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/fleettest"
	"github.com/multicast-upgrade/tool/manifest"
)

// A crowd is what the process of the devices is told first, in JSON on standard input.
type crowd struct {
	URL      string
	Devices  int
	PerConn  int    // devices that share a connection
	Manifest []byte // signed; what they are to be told
}

func deviceName(i int) string { return fmt.Sprintf("d-%06d", i) }

func deviceKey(name string) *manifest.PrivateKey { return fleettest.Key(manifest.RoleDevice, name) }

// A milestone is what the process of the devices says when all of them have come as far.
type milestone struct {
	Median, Most, Last time.Time      // when half of them had, 99 %, and all
	Trouble            map[string]int // what was tried again since the last milestone, by what was wrong
}

// devices are simulated devices. As an agent does, each follows the rendezvous with a long poll of its own, also when it was
// told of the campaign. On a word from standard input all say hello at once, and on another all vote.
type devices struct {
	crowd
	release *manifest.Manifest
	steps   [4]step

	mu       sync.Mutex // guards all below
	trouble  map[string]int
	sessions map[string]*manifest.Session // those that are signed as they should be, by their bytes
}

// A step is something that all devices do once.
type step struct {
	word chan struct{} // closed when they are to
	all  chan struct{} // closed when they have
	at   []time.Time   // guarded by devices.mu
}

const (
	stepTold     = iota
	stepPrepared // what they say is signed: on devices that costs the server nothing
	stepGreeted
	stepVoted
)

// runDevices is the process of the devices: it says when all of them have done a step, and for all but the first it waits for
// the word.
func runDevices(in *json.Decoder, out *json.Encoder) error {
	d := &devices{trouble: map[string]int{}, sessions: map[string]*manifest.Session{}}
	if err := in.Decode(&d.crowd); err != nil {
		return err
	}
	for i := range d.steps {
		d.steps[i] = step{word: make(chan struct{}), all: make(chan struct{})}
	}
	var err error
	if d.release, err = manifest.OpenSigned(d.Manifest, fleettest.Trust); err != nil {
		return err
	}
	at, err := url.Parse(d.URL)
	if err != nil {
		return err
	}
	secure := discovery.ClientTLS(fleettest.ServerKey.Public(), at.Hostname(), time.Now)
	var shared *link
	for i := range d.Devices {
		if i%d.PerConn == 0 {
			shared = newLink(at.Host, secure)
		}
		name := deviceName(i)
		client, err := discovery.NewClient(d.URL, shared)
		if err != nil {
			return err
		}
		client.Device, client.Wait = name, pollTime
		go d.follow(name, client)
	}
	for i := range d.steps {
		if i > stepTold {
			if err := in.Decode(new(string)); err != nil {
				return err
			}
			close(d.steps[i].word)
		}
		<-d.steps[i].all
		if err := out.Encode(d.milestone(i)); err != nil {
			return err
		}
	}
	if err := in.Decode(new(string)); err != io.EOF { // the server's process has seen enough
		return err
	}
	return nil
}

// did notes that one more device has done a step.
func (d *devices) did(i int) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.steps[i]
	if s.at = append(s.at, now); len(s.at) == d.Devices {
		close(s.all)
	}
}

func (d *devices) milestone(i int) milestone {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.steps[i].at
	slices.SortFunc(at, time.Time.Compare)
	m := milestone{at[len(at)/2], at[len(at)*99/100], at[len(at)-1], d.trouble}
	d.trouble = map[string]int{}
	return m
}

// failed notes what has to be tried again.
func (d *devices) failed(err error) {
	text := err.Error()
	if e, ok := errors.AsType[*url.Error](err); ok {
		text = e.Err.Error() // without the device's name
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trouble[text]++
}

// abandon ends the process, and so the benchmark, for what must not happen to any device.
func abandon(name string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	os.Exit(1)
}

// follow is one device.
func (d *devices) follow(name string, client *discovery.Client) {
	begun := false
	client.Follow(context.Background(), func(n *discovery.Notice) {
		session, err := d.check(n)
		if err != nil {
			abandon(name, err)
		}
		if !begun {
			begun = true
			d.did(stepTold)
			go d.takePart(name, client, session)
		}
	}, d.failed)
}

// check returns the session of a notice that has both documents.
func (d *devices) check(n *discovery.Notice) (*manifest.Session, error) {
	if !bytes.Equal(n.Manifest, d.Manifest) {
		return nil, errors.New("a notice has not the manifest")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.sessions[string(n.Session)]; s != nil {
		return s, nil
	}
	s, err := manifest.OpenSession(n.Session, fleettest.ServerKey.Public(), nil, time.Now())
	if err == nil {
		d.sessions[string(n.Session)] = s
	}
	return s, err
}

func (d *devices) takePart(name string, client *discovery.Client, session *manifest.Session) {
	<-d.steps[stepPrepared].word
	key := deviceKey(name)
	seen := fleettest.Sighting(name)
	h := discovery.Hello{Device: name, Product: seen.Product, Hardware: seen.Hardware, Version: seen.Version, Agent: make([]byte, 16)}
	crand.Read(h.Agent) // never fails
	if err := h.Sign(key); err != nil {
		abandon(name, err)
	}
	v := commit.Vote{Round: commit.Round{Campaign: session.Campaign, Manifest: session.Manifest}, Device: name, Ready: true, Counter: 1}
	for _, im := range d.release.Images {
		v.Roots = append(v.Roots, commit.Digest(im.Root))
	}
	body, err := v.Sign(key)
	if err != nil {
		abandon(name, err)
	}
	vote := discovery.Statement{Device: name, Signed: true, Body: body, Campaign: session.Campaign.String()}
	d.did(stepPrepared)
	<-d.steps[stepGreeted].word
	d.insist(name, func() error { return client.Hello(context.Background(), h) })
	d.did(stepGreeted)
	<-d.steps[stepVoted].word
	d.insist(name, func() error { return client.Vote(context.Background(), vote) })
	d.did(stepVoted)
}

// insist does something until it succeeds, with the pauses of an agent.
func (d *devices) insist(name string, f func() error) {
	for most := time.Second; ; most = min(2*most, time.Minute) {
		err := f()
		if err == nil {
			return
		}
		if r, ok := errors.AsType[*discovery.Refusal](err); ok && r.Status < 500 {
			abandon(name, err)
		}
		d.failed(err)
		time.Sleep(most/2 + rand.N(most/2))
	}
}

// A link is a connection that devices share, made anew when it is lost.
type link struct {
	transport *http.Transport
	addr      string

	mu   sync.Mutex // guards conn, while it is made too
	conn *http.ClientConn
}

func newLink(addr string, secure *tls.Config) *link {
	return &link{transport: &http.Transport{TLSClientConfig: secure, ForceAttemptHTTP2: true}, addr: addr}
}

// RoundTrip implements [http.RoundTripper]. An [http.Transport] would dial once for each of those who wait for the first
// connection, as many as there are devices.
func (l *link) RoundTrip(r *http.Request) (*http.Response, error) {
	conn, err := l.open(r.Context())
	if err != nil {
		return nil, err
	}
	return conn.RoundTrip(r)
}

func (l *link) open(ctx context.Context) (*http.ClientConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && l.conn.Err() == nil {
		return l.conn, nil
	}
	conn, err := l.transport.NewClientConn(ctx, "https", l.addr)
	if err == nil {
		l.conn = conn
	}
	return conn, err
}
