package upgrade

import (
	"context"
	"io/fs"
	"strings"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/filestore"
)

// A mutant is the program with one thing in it broken on purpose, which the rules have to find. Each is a step that a crash
// test easily has no eye for: nothing is wrong without a crash at the right place.
type mutant string

const (
	serverLogNotSynced   mutant = "the server does not sync its log"
	signedBeforeLogged   mutant = "the server signs before it logs"
	deviceLogNotSynced   mutant = "a device does not sync its log"
	logNotSyncedAtOpen   mutant = "a log is not synced when it is opened"
	tornAtFirstSight     mutant = "what is read wrong of a log is cut off"
	stageNotSynced       mutant = "a device does not sync its stage"
	directoriesNotSynced mutant = "a device does not sync directories"
	stageNotReadBack     mutant = "a device votes without reading its stage back"
	stageReadFromMemory  mutant = "a device reads its stage back from memory"
	stageNotPromoted     mutant = "a device votes before its stage has its durable name"
	healthCannotTell     mutant = "a health hook cannot say that the old image still runs"
)

var mutants = []mutant{serverLogNotSynced, signedBeforeLogged, deviceLogNotSynced, logNotSyncedAtOpen, tornAtFirstSight,
	stageNotSynced, directoriesNotSynced, stageNotReadBack, stageReadFromMemory, stageNotPromoted, healthCannotTell}

func (m mutant) serverDisk(d disk.FS) disk.FS {
	switch m {
	case serverLogNotSynced, logNotSyncedAtOpen, tornAtFirstSight:
		return mutantFS{d, m}
	}
	return d
}

func (m mutant) deviceDisk(d disk.FS) disk.FS {
	switch m {
	case "", serverLogNotSynced, signedBeforeLogged, healthCannotTell:
		return d
	}
	return mutantFS{d, m}
}

func (m mutant) serverLog(l *filestore.Log, err error) (commit.Log, error) {
	if m == signedBeforeLogged && err == nil {
		return &lateLog{log: l}, nil
	}
	return l, err
}

// A lateLog writes what it is given with what it is given next.
type lateLog struct {
	log  commit.Log
	late [][]byte
}

func (l *lateLog) Append(recs ...[]byte) error {
	if len(l.late) > 0 {
		if err := l.log.Append(l.late...); err != nil {
			return err
		}
	}
	l.late = recs
	return nil
}

// perform does a job of a device.
func (m mutant) perform(a *Agent, ctx context.Context, job commit.Job, c *campaign) commit.Result {
	if job.Task != commit.TaskVerify || c.err != nil {
		return a.perform(ctx, job, c)
	}
	switch m {
	case stageNotReadBack:
		if err := promote(a.fs, stageDir(c.release.Digest()), c.release); err != nil {
			return commit.Result{Reason: storageReason(err)}
		}
	case stageNotPromoted:
		if r, err := a.rehashStage(ctx, c, commit.ReasonVerifyFailed); err != nil {
			return r
		}
	default:
		return a.perform(ctx, job, c)
	}
	var r commit.Result
	for _, im := range c.release.Images {
		r.Roots = append(r.Roots, commit.Digest(im.Root))
	}
	return r
}

// A mutantFS leaves some calls out.
type mutantFS struct {
	disk.FS
	mutant mutant
}

func (m mutantFS) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := m.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	log := name == logName || strings.HasPrefix(name, "log-") && !strings.HasSuffix(name, ".tmp")
	stage := strings.HasPrefix(name, stagesDir+"/")
	switch {
	case log && (m.mutant == serverLogNotSynced || m.mutant == deviceLogNotSynced):
		return &mutantFile{File: f, syncs: 1 << 30}, nil
	case log && m.mutant == logNotSyncedAtOpen:
		return &mutantFile{File: f, syncs: 1, drops: true}, nil
	case log && m.mutant == tornAtFirstSight:
		return &mutantFile{File: f, drops: true}, nil
	case stage && m.mutant == stageNotSynced:
		return &mutantFile{File: f, syncs: 1 << 30}, nil
	case stage && m.mutant == stageReadFromMemory:
		return &mutantFile{File: f, drops: true}, nil
	}
	return f, nil
}

func (m mutantFS) SyncDir(name string) error {
	if m.mutant == directoriesNotSynced {
		return nil
	}
	return m.FS.SyncDir(name)
}

type mutantFile struct {
	disk.File
	syncs int  // so many are left out
	drops bool // and those of memory
}

func (f *mutantFile) Sync() error {
	if f.syncs > 0 {
		f.syncs--
		return nil
	}
	return f.File.Sync()
}

func (f *mutantFile) DropCache() error {
	if f.drops {
		return nil
	}
	return f.File.DropCache()
}
