package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/filestore"
	"github.com/multicast-upgrade/tool/manifest"
)

// The files of a state directory.
const (
	lockName       = "lock"          // locked by the process that runs the campaign
	campaignName   = "campaign.json" // what is frozen; the campaign exists once this does
	coordinatorLog = "log"           // of the coordinator: plan, votes, decision, outcomes
	issueName      = "session.json"  // what was last announced
	controlName    = "control.json"  // how to reach the process, while there is one
)

const stateFormat = 1

// Frozen is what a campaign is from its first to its last start.
type frozen struct {
	Format   int
	Campaign commit.CampaignID
	Server   manifest.PublicKey
	Started  time.Time // whole seconds
	Deadline time.Time // of votes, whole seconds
	NodeID   uint32    // NormNodeId of the sender
	Instance uint16    // instance_id at serial 0; each start has one of its own
	Address  string    // where the rendezvous listens
	URL      string    // and how devices know it
	Settings settings
	Manifest []byte
	GroupKey []byte `json:",omitempty"` // secret, as this file is; nil: packets are not authenticated
}

// An issue is what was last announced. It is on disk before devices see it.
type issue struct {
	Serial uint64    // of the session description
	Start  time.Time // of sending; stays as it was first announced
	Begun  bool      // sending has begun
}

// A campaignState is the state directory.
type campaignState struct {
	fs     disk.FS
	dir    string // for people
	own    io.Closer
	lock   io.Closer
	log    *filestore.Log
	exists bool // the campaign is an old one
	made   bool // the directory was not there before
	issue
}

// lockPatience is how long a lock is waited for, which a look from outside holds for an instant.
const lockPatience = time.Second

func openState(cfg CampaignConfig, id commit.CampaignID) (*campaignState, error) {
	s := &campaignState{fs: cfg.FS, dir: cfg.State}
	switch {
	case s.fs != nil:
		s.dir = s.fs.Path(".")
	case s.dir == "":
		s.dir = "upgrade-" + id.String()
		fallthrough
	default:
		_, err := os.Stat(s.dir)
		s.made = errors.Is(err, fs.ErrNotExist)
		dir, err := disk.Open(s.dir)
		if err != nil {
			return nil, fmt.Errorf("--state: %w", err)
		}
		s.fs, s.own = dir, dir
	}
	err := s.open()
	if err != nil {
		s.close()
		return nil, fmt.Errorf("--state %s: %w", s.dir, err)
	}
	return s, nil
}

func (s *campaignState) open() (err error) {
	for waited := time.Duration(0); ; waited += lockPatience / 10 {
		s.lock, err = s.fs.Lock(lockName)
		if err == nil {
			break
		}
		if !errors.Is(err, disk.ErrLocked) {
			return err
		}
		if waited >= lockPatience {
			return fmt.Errorf("another process runs this campaign: %w", err)
		}
		time.Sleep(lockPatience / 10)
	}
	_, err = s.fs.Stat(campaignName)
	s.exists = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// load reads what is frozen and what was announced.
func (s *campaignState) load() (f frozen, err error) {
	if err := readJSON(s.fs, campaignName, &f); err != nil {
		return f, err
	}
	if f.Format != stateFormat {
		return f, fmt.Errorf("%s has format %d; this program knows %d", s.fs.Path(campaignName), f.Format, stateFormat)
	}
	if err := readJSON(s.fs, issueName, &s.issue); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	return f, nil
}

// create makes the campaign exist.
func (s *campaignState) create(f frozen) error {
	// What an earlier campaign in this directory has left is not this one's.
	if err := s.fs.Remove(issueName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeJSON(s.fs, campaignName, f)
}

func (s *campaignState) save(i issue) error {
	if err := writeJSON(s.fs, issueName, i); err != nil {
		return err
	}
	s.issue = i
	return nil
}

// discardLog removes the log of a campaign that never came to be.
func (s *campaignState) discardLog() error {
	if err := s.fs.Remove(coordinatorLog); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.fs.SyncDir(".")
}

func (s *campaignState) openLog(replay func(rec []byte) error) (_ commit.Log, err error) {
	s.log, err = filestore.Open(s.fs, coordinatorLog, replay)
	return s.log, err
}

func (s *campaignState) close() {
	if s.log != nil {
		s.log.Close()
	}
	if s.lock != nil {
		s.lock.Close()
	}
	if s.own != nil {
		s.own.Close()
	}
}

// undo lets go of the directory, and removes it if it was made for a campaign that did not come to be.
func (s *campaignState) undo() {
	if _, err := s.fs.Stat(campaignName); s.made && errors.Is(err, fs.ErrNotExist) {
		s.fs.Remove(coordinatorLog)
		s.fs.Remove(lockName)
		os.Remove(s.dir) // fails if there is anything else in it
	}
	s.close()
}

const maxState = 1 << 20 // bytes of a JSON file

// readJSON reads a file that writeJSON wrote.
func readJSON(fsys disk.FS, name string, v any) error {
	b, err := disk.ReadFile(fsys, name, maxState)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s is damaged: %w", fsys.Path(name), err)
	}
	return nil
}

// writeJSON replaces a file, in one step.
func writeJSON(fsys disk.FS, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	return disk.WriteFile(fsys, name, append(b, '\n'), 0o600)
}
