package upgrade

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/filestore"
)

const (
	statusName    = "status"
	abandonedName = "abandoned"     // the campaign that a person gave up last
	requestName   = "abandon"       // a request to do so
	replyName     = "abandon-reply" // and what came of it
	maxSmallFile  = 16 << 10
)

// An AgentStatus is where the agent of a directory is.
type AgentStatus struct {
	Running bool                     // an agent has the directory locked now
	Version string                   // of the release committed last; empty: none was
	Commit  commit.ParticipantStatus // what its log says
	Latest  Event                    // of the latest campaign; zero: there was none

	Root        uint64    // version of the newest root document it has seen; 0: none
	RootExpires time.Time // from when on it installs nothing without a newer one
}

// Status tells where the agent of a directory is, whether it runs or not.
func Status(dir string) (st AgentStatus, err error) {
	if _, err := os.Stat(dir); err != nil {
		return st, err
	}
	d, err := disk.Open(dir)
	if err != nil {
		return st, err
	}
	defer d.Close()
	var last []byte
	err = filestore.Read(d, logName, func(rec []byte) error {
		last = append(last[:0], rec...)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return st, err
	}
	if len(last) > 0 {
		if st.Commit, err = commit.ReadParticipantStatus(last); err != nil {
			return st, err
		}
	}
	st.Version = runningVersion(d)
	if b, err := disk.ReadFile(d, statusName, maxSmallFile); err == nil {
		json.Unmarshal(b, &st.Latest) // for people; a torn one is none
	}
	root, err := readRoot(d)
	if err != nil {
		return st, err
	}
	if root != nil {
		st.Root, st.RootExpires = root.Version, root.Expires
	}
	st.Running = locked(d)
	return st, nil
}

func locked(fsys disk.FS) bool {
	lock, err := fsys.Lock("lock")
	if err == nil {
		lock.Close()
	}
	return errors.Is(err, disk.ErrLocked)
}

// writeStatus keeps an event for [Status]. It is for people and need not survive a power cut.
func (a *Agent) writeStatus(e Event) {
	e.Time, e.Device = time.Now().UTC(), a.cfg.Device
	f, err := a.fs.OpenFile(statusName+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.WriteAt(e.JSON(), 0)
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = a.fs.Rename(statusName+".tmp", statusName)
	}
	if err != nil {
		a.log.Debug("the status cannot be kept", "error", err)
	}
}

// Abandon gives up the current campaign of a directory: what is received ends, a READY is released. It waits for the
// agent's answer; if none runs the request stays, and the agent takes it when it starts: then done is false.
func Abandon(ctx context.Context, dir string) (done bool, err error) {
	if _, err := os.Stat(dir); err != nil {
		return false, err
	}
	d, err := disk.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	id := rand.Text()
	if err := disk.WriteFile(d, requestName, []byte(id), 0o600); err != nil {
		return false, err
	}
	for {
		b, err := disk.ReadFile(d, replyName, maxSmallFile)
		if answer, ok := strings.CutPrefix(string(b), id+"\n"); err == nil && ok {
			if answer != "" {
				return false, errors.New(answer)
			}
			return true, nil
		}
		if !locked(d) {
			return false, nil
		}
		if !pause(ctx, watchInterval/4) {
			return false, context.Cause(ctx)
		}
	}
}

// watchInterval is how often the agent looks for requests: a file works on every system, and survives a stop.
const watchInterval = time.Second

func (a *Agent) watchRequests(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		if id, err := disk.ReadFile(a.fs, requestName, maxSmallFile); err == nil {
			a.do(func(now time.Time) { a.answerRequest(now, string(id)) })
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// answerRequest abandons the current campaign, and then says so.
func (a *Agent) answerRequest(now time.Time, id string) {
	if !exists(a.fs, requestName) {
		return // answered already
	}
	answer := ""
	if err := a.abandon(now); err != nil {
		answer = err.Error()
	}
	err := disk.WriteFile(a.fs, replyName, []byte(id+"\n"+answer), 0o600)
	if err == nil {
		err = a.fs.Remove(requestName)
	}
	if err != nil {
		a.log.Error("a request cannot be answered", "error", err)
	}
}

func (a *Agent) abandon(now time.Time) error {
	round, held := a.p.Holds()
	if !held {
		c := a.following
		if c == nil || c.stop == nil {
			return errors.New("there is no campaign to abandon")
		}
		a.stopReceiving()
		return a.p.Refuse(now, c.round, c.session.Expires, commit.ReasonAbandoned)
	}
	if a.p.Status().Active {
		return fmt.Errorf("%w; it cannot be abandoned any more", commit.ErrBusy)
	}
	// First, so that the agent does not vote anew for what it has just been told to give up.
	if err := disk.WriteFile(a.fs, abandonedName, []byte(round.Campaign.String()), 0o600); err != nil {
		return err
	}
	return a.p.Release(now, commit.ReasonAbandoned)
}

// abandoned reports whether a person gave up the campaign.
func (a *Agent) abandoned(round commit.Round) bool {
	b, err := disk.ReadFile(a.fs, abandonedName, maxSmallFile)
	return err == nil && string(b) == round.Campaign.String()
}

// interfaceName names the network interface for people.
func (a *Agent) interfaceName() string {
	if a.cfg.Interface == "" {
		return "(the routing table's)"
	}
	return a.cfg.Interface
}
