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

	Wraps    []manifest.Wrap `json:",omitempty"` // file keys of sealed images, for groups
	FileKeys []byte          `json:",omitempty"` // the same for each device that asks: secret too
}

// An issue is what was last announced. It is on disk before devices see it.
type issue struct {
	Serial uint64    // of the session description
	Start  time.Time // of sending; stays as it was first announced
	Begun  bool      // sending has begun
	Place  *place    `json:",omitempty"` // of the server; nil: what is frozen
}

// A State keeps what one campaign is, has announced and has promised, for one process at a time. What a method returned
// nil for is durable. [OpenCampaign] has one for directories; upgrade/store keeps states in a database.
type State interface {
	// Load returns what Create and Save were given last; nil where there is none. The campaign exists when there is frozen.
	Load() (frozen, issue []byte, err error)
	// Create makes the campaign exist; nothing is announced of it yet.
	Create(frozen []byte) error
	Save(issue []byte) error
	// OpenLog gives replay each record of the coordinator's log, in order. Close closes the log.
	OpenLog(replay func(rec []byte) error) (commit.Log, error)
	// DiscardLog removes the log of a campaign that never came to be.
	DiscardLog() error
	// String names the state, for people.
	String() string
	Close() error
}

// A campaignState is a State, and what is in it.
type campaignState struct {
	State
	exists bool // the campaign is an old one
	issue
}

// load reads what is frozen and what was announced.
func (s *campaignState) load() (f frozen, err error) {
	frozen, issue, err := s.Load()
	if err != nil || frozen == nil {
		return f, err
	}
	s.exists = true
	if err := json.Unmarshal(frozen, &f); err != nil {
		return f, fmt.Errorf("%s: what is frozen of the campaign is damaged: %w", s, err)
	}
	if f.Format != stateFormat {
		return f, fmt.Errorf("%s has format %d; this program knows %d", s, f.Format, stateFormat)
	}
	if issue != nil {
		if err := json.Unmarshal(issue, &s.issue); err != nil {
			return f, fmt.Errorf("%s: what was announced last is damaged: %w", s, err)
		}
	}
	return f, nil
}

func (s *campaignState) create(f frozen) error {
	b, err := marshalState(f)
	if err != nil {
		return err
	}
	return s.Create(b)
}

func (s *campaignState) save(i issue) error {
	b, err := marshalState(i)
	if err == nil {
		err = s.Save(b)
	}
	if err == nil {
		s.issue = i
	}
	return err
}

// A stateDir is a State in a directory.
type stateDir struct {
	fs   disk.FS
	dir  string // for people
	own  io.Closer
	lock io.Closer
	log  *filestore.Log
	made bool // the directory was not there before
}

// lockPatience is how long a lock is waited for, which a look from outside holds for an instant.
const lockPatience = time.Second

func openStateDir(cfg CampaignConfig, id commit.CampaignID) (*stateDir, error) {
	s := &stateDir{fs: cfg.FS, dir: cfg.State}
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
	if err := s.takeLock(); err != nil {
		s.release()
		return nil, fmt.Errorf("--state %s: %w", s.dir, err)
	}
	return s, nil
}

func (s *stateDir) takeLock() (err error) {
	for waited := time.Duration(0); ; waited += lockPatience / 10 {
		s.lock, err = s.fs.Lock(lockName)
		if !errors.Is(err, disk.ErrLocked) {
			return err
		}
		if waited >= lockPatience {
			return fmt.Errorf("another process runs this campaign: %w", err)
		}
		time.Sleep(lockPatience / 10)
	}
}

func (s *stateDir) String() string { return s.dir }

func (s *stateDir) Load() (frozen, issue []byte, err error) {
	if frozen, err = readState(s.fs, campaignName); frozen == nil {
		return nil, nil, err
	}
	issue, err = readState(s.fs, issueName)
	return frozen, issue, err
}

// readState reads a file; nil if there is none.
func readState(fsys disk.FS, name string) ([]byte, error) {
	b, err := disk.ReadFile(fsys, name, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (s *stateDir) Create(frozen []byte) error {
	// What an earlier campaign in this directory has left is not this one's.
	if err := s.fs.Remove(issueName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return disk.WriteFile(s.fs, campaignName, frozen, 0o600)
}

func (s *stateDir) Save(issue []byte) error { return disk.WriteFile(s.fs, issueName, issue, 0o600) }

func (s *stateDir) DiscardLog() error {
	if err := s.fs.Remove(coordinatorLog); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.fs.SyncDir(".")
}

func (s *stateDir) OpenLog(replay func(rec []byte) error) (_ commit.Log, err error) {
	s.log, err = filestore.Open(s.fs, coordinatorLog, replay)
	return s.log, err
}

// Close lets go of the directory, and removes it if it was made for a campaign that did not come to be.
func (s *stateDir) Close() error {
	if s.made {
		if _, err := s.fs.Stat(campaignName); errors.Is(err, fs.ErrNotExist) {
			s.fs.Remove(coordinatorLog)
			s.fs.Remove(lockName)
			os.Remove(s.dir) // fails if there is anything else in it
		}
	}
	return s.release()
}

func (s *stateDir) release() error {
	var errs []error
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	for _, c := range []io.Closer{s.lock, s.own} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
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
	b, err := marshalState(v)
	if err != nil {
		return err
	}
	return disk.WriteFile(fsys, name, b, 0o600)
}

func marshalState(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "\t")
	return append(b, '\n'), err
}
