package upgrade

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/manifest"
)

const (
	// rootName is the newest root document that the device has seen: it never goes below that version.
	rootName = "root"
	// maxRoots bounds how many roots are followed at a visit to the server. Each is verified and stored before the next is
	// asked for, so a device that has slept for longer goes on from there.
	maxRoots = 64
)

// trust returns whom the device believes: the newest root document, or what it was configured with. It may be called from
// any goroutine; only Run replaces it.
func (a *Agent) trust() *manifest.Root { return a.root.Load() }

// openRoot begins with the newer one of the root that was stored and what the device was given.
func (a *Agent) openRoot() error {
	given := &manifest.Root{Release: a.cfg.Trust, Servers: []manifest.PublicKey{a.cfg.TrustServer}}
	if a.cfg.Root != nil {
		var err error
		if given, err = manifest.OpenRoot(a.cfg.Root); err != nil {
			return fmt.Errorf("root: %w", err)
		}
	}
	stored, err := readRoot(a.fs)
	switch {
	case err != nil:
		return err
	case stored != nil && stored.Version >= given.Version:
		given = stored
	case given.Version > 0:
		// Stored before anything is believed by it: a device that is given the old one again does not go back.
		if err := disk.WriteFile(a.fs, rootName, a.cfg.Root, 0o600); err != nil {
			return err
		}
	}
	a.root.Store(given)
	return nil
}

// readRoot returns the root that is stored, nil if none is. It was verified before it was stored.
func readRoot(fsys disk.FS) (*manifest.Root, error) {
	signed, err := disk.ReadFile(fsys, rootName, manifest.MaxRoot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var r *manifest.Root
	if err == nil {
		r, err = manifest.OpenRoot(signed)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: the root document is damaged, and what keys have been revoked is not known; put the newest one there: %w", fsys.Path(rootName), err)
	}
	return r, nil
}

// newRootClient returns a client that asks for root documents. It believes any certificate: the server may have another key
// by now, which is what the device is to learn, and a root proves itself.
func (c AgentConfig) newRootClient() (*discovery.Client, error) {
	transport := c.Transport
	if transport == nil {
		transport = discovery.NewTransport(&tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: c.Certificates})
	}
	return discovery.NewClient(c.Server, transport)
}

// followRoots follows the roots to the one announced, before anything else of an announcement counts: it may be signed by
// keys that only that root names. While the server cannot be reached it tries again.
func (a *Agent) followRoots(ctx context.Context, announced []byte) {
	newest, _, err := manifest.OpenRootUnverified(announced)
	if err != nil {
		return // there is none, or nobody could follow it
	}
	for failures := 0; newest.Version > a.trust().Version; failures++ {
		end, err := a.catchUp(ctx)
		_, refused := errors.AsType[*rootError](err)
		if refused || end || !pause(ctx, retryAfter(failures)) { // it was told; the server does not have what it announces
			return
		}
	}
}

// A rootError says that a root does not follow the device's.
type rootError struct{ err error }

func (e *rootError) Error() string { return e.err.Error() }
func (e *rootError) Unwrap() error { return e.err }

// catchUp follows the roots from the device's own on, at most maxRoots; end is whether the server has no more.
func (a *Agent) catchUp(ctx context.Context) (end bool, err error) {
	for range maxRoots {
		signed, err := a.rootClient.Root(ctx, a.trust().Version+1)
		if errors.Is(err, discovery.ErrNoRoot) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		taken := make(chan error, 1)
		a.do(func(now time.Time) { taken <- a.takeRoot(now, signed) })
		select {
		case err = <-taken:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// takeRoot makes the next root the one that counts, once it is durable.
func (a *Agent) takeRoot(now time.Time, signed []byte) error {
	next, err := a.trust().Next(signed)
	if err != nil {
		if !a.rootRefused { // once: the server can repeat it for ever
			a.rootRefused = true
			a.tell.tell(Event{Kind: EventTrouble, Reason: commit.ReasonSignature, Detail: "the server's next root document does not count: " + err.Error()})
		}
		return &rootError{err}
	}
	if err := disk.WriteFile(a.fs, rootName, signed, 0o600); err != nil {
		return err
	}
	a.rootRefused = false
	a.root.Store(next)
	a.p.TrustServers(next.Servers)
	a.tell.tell(Event{Kind: EventRoot, Detail: fmt.Sprintf("root %d, in force until %s", next.Version, next.Expires.Format(time.RFC3339))})
	a.revoke(now)
	return nil
}

// revoke gives up what is under way by keys that no longer count, as far as it has not begun to activate.
func (a *Agent) revoke(now time.Time) {
	if c := a.following; c != nil && c != a.held {
		switch {
		case !a.releaseTrusted(c):
			a.stopReceiving()
			a.refuse(now, c.round, c.session.Expires, commit.ReasonRevoked)
			a.following = nil
		case !a.sessionTrusted(c):
			a.stopReceiving() // what it would come to, nobody could decide
			a.following = nil
		}
	}
	c, st := a.held, a.p.Status()
	if c == nil || c.err != nil || st.Active {
		return
	}
	switch verifying := st.Current.State == commit.StateStaged; {
	case a.releaseTrusted(c) && (st.Committed || a.sessionTrusted(c)):
	case verifying && c.session != nil:
		a.refuse(now, c.round, c.session.Expires, commit.ReasonRevoked)
	default:
		if err := a.p.Release(now, commit.ReasonRevoked); err != nil {
			a.log.Error("the stage cannot be given up", "round", c.round, "error", err)
		}
	}
}

// releaseTrusted reports whether enough keys that count now have signed the release.
func (a *Agent) releaseTrusted(c *campaign) bool {
	_, err := manifest.OpenSigned(c.signed.Manifest, a.trust().Release)
	return err == nil
}

// sessionTrusted reports whether a server key that counts now has signed the session description, so that one can decide.
func (a *Agent) sessionTrusted(c *campaign) bool {
	_, err := manifest.OpenSession(c.signed.Session, a.trust().Server(c.signed.Session), nil, time.Time{})
	return err == nil
}

// frozen returns why the device installs nothing now: its root document has expired. A server that keeps a newer one from it
// keeps everything from it, and not old releases in force.
func (a *Agent) frozen(now time.Time) error { return a.trust().CheckExpiry(a.utc(now)) }

// tellFrozen tells of a campaign that the device takes no part in, for now: with a newer root it does.
func (a *Agent) tellFrozen(round commit.Round, err error) {
	a.tell.tell(Event{Kind: EventTrouble, Campaign: round.Campaign.String(), Reason: commit.ReasonRootExpired,
		Detail: err.Error() + ": nothing is installed before there is a newer one"})
	a.sendStatus(round, commit.StateRefused, commit.ReasonRootExpired)
}

// mayVote returns why a stage that is verified gets no READY: what it rests on may have changed while it was read.
func (a *Agent) mayVote(now time.Time, c *campaign) commit.Reason {
	switch {
	case c.release == nil:
		return commit.ReasonStorage
	case !a.releaseTrusted(c) || !a.sessionTrusted(c):
		return commit.ReasonRevoked
	case a.frozen(now) != nil:
		return commit.ReasonRootExpired
	}
	return commit.ReasonNone
}
