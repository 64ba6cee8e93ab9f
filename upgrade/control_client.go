package upgrade

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/commit/disk"
	"github.com/multicast-upgrade/tool/commit/filestore"
	"github.com/multicast-upgrade/tool/manifest"
)

// maxControlBody bounds a status, which has a line for each of up to half a million devices.
const maxControlBody = 256 << 20

// A Control reaches a campaign from another process, by its state directory.
type Control struct {
	fs   disk.FS
	dir  string
	own  io.Closer
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// OpenControl looks at the state directory of a campaign. The error is one line that a user can act on.
func OpenControl(dir string) (*Control, error) {
	// Not disk.Open at once, which would make the directory.
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("--state: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("--state %s: not a directory", dir)
	}
	d, err := disk.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("--state: %w", err)
	}
	c := &Control{fs: d, dir: dir, own: d, dial: new(net.Dialer).DialContext}
	if _, err := d.Stat(campaignName); err != nil {
		d.Close()
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("--state %s: there is no campaign in this directory", dir)
		}
		return nil, fmt.Errorf("--state: %w", err)
	}
	return c, nil
}

// Close lets go of the directory.
func (c *Control) Close() error {
	if c.own == nil {
		return nil
	}
	return c.own.Close()
}

// Commit approves the COMMIT of the campaign. The error wraps [commit.ErrNotReady] while the policy is not met,
// [commit.ErrNotApproved] while approvers have not agreed, [commit.ErrDecided] when it is too late, and [ErrNotRunning] when no process runs the campaign.
func (c *Control) Commit(ctx context.Context) error { return c.act(ctx, "commit") }

// Agree gives the campaign the signed agreement of an approver. The error wraps [commit.ErrDecided] when it is too late, and
// [ErrNotRunning] when no process runs the campaign.
func (c *Control) Agree(ctx context.Context, signed []byte) error {
	_, err := c.ask(ctx, http.MethodPost, "approval", signed)
	return c.how(err)
}

// Abort decides to ABORT. The error is as that of Commit.
func (c *Control) Abort(ctx context.Context) error { return c.act(ctx, "abort") }

// Hold stops devices that have not begun to activate. The error is as that of Commit.
func (c *Control) Hold(ctx context.Context) error { return c.act(ctx, "hold") }

// Pause stops all that can be stopped: nothing is sent or decided. The error is as that of Commit.
func (c *Control) Pause(ctx context.Context) error { return c.act(ctx, "pause") }

// Resume lets all go on. The error is as that of Commit.
func (c *Control) Resume(ctx context.Context) error { return c.act(ctx, "resume") }

// Status returns where the campaign is: from the process that runs it, or else from its log.
func (c *Control) Status(ctx context.Context) (s CampaignStatus, err error) {
	body, err := c.ask(ctx, http.MethodGet, "status", nil)
	if errors.Is(err, ErrNotRunning) {
		return c.read()
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}

func (c *Control) act(ctx context.Context, what string) error {
	_, err := c.ask(ctx, http.MethodPost, what, nil)
	return c.how(err)
}

// how says what to do about a campaign that does not run.
func (c *Control) how(err error) error {
	if errors.Is(err, ErrNotRunning) {
		return fmt.Errorf("%w; continue it with: normsend upgrade --state %s --key server.key", err, c.dir)
	}
	return err
}

// ask makes a request of the process that runs the campaign.
func (c *Control) ask(ctx context.Context, method, what string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	var file controlFile
	if err := readJSON(c.fs, controlName, &file); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning
	} else if err != nil {
		return nil, err
	}
	// A process that was killed leaves the file, and its port to others, but never its lock.
	if lock, err := c.fs.Lock(lockName); err == nil {
		lock.Close()
		return nil, ErrNotRunning
	}
	transport := &http.Transport{DialContext: c.dial, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+file.Address+"/"+what, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+file.Token)
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not answer: %w", ErrNotRunning, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxControlBody))
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNoContent:
		return answer, nil
	case http.StatusUnauthorized: // the campaign has been started anew in between
		return nil, fmt.Errorf("%w: another process has its port", ErrNotRunning)
	}
	var p controlProblem
	if json.Unmarshal(answer, &p) != nil || p.Detail == "" {
		return nil, fmt.Errorf("the campaign's process answers %s", resp.Status)
	}
	if known := controlCodes[p.Title]; known != nil {
		return nil, &controlRefusal{p.Detail, known}
	}
	return nil, errors.New(p.Detail)
}

// A controlRefusal says what the campaign's process said, and is what it was there.
type controlRefusal struct {
	detail string
	err    error
}

func (e *controlRefusal) Error() string { return e.detail }
func (e *controlRefusal) Unwrap() error { return e.err }

// read returns what the log says, without changing it.
func (c *Control) read() (CampaignStatus, error) {
	var f frozen
	if err := readJSON(c.fs, campaignName, &f); err != nil {
		return CampaignStatus{}, err
	}
	m, _, err := manifest.OpenUnverified(f.Manifest)
	if err != nil {
		return CampaignStatus{}, err
	}
	coordinator, err := commit.OpenCoordinator(commit.CoordinatorConfig{Public: f.Server,
		Open: func(replay func(rec []byte) error) (commit.Log, error) {
			return readOnly{}, filestore.Read(c.fs, coordinatorLog, replay)
		}})
	if err != nil {
		return CampaignStatus{}, fmt.Errorf("%s: %w", c.fs.Path(coordinatorLog), err)
	}
	return campaignStatus(f, m, coordinator, nil), nil
}

// A readOnly log is for a look from outside.
type readOnly struct{}

func (readOnly) Append(...[]byte) error { return errors.New("the log is open for reading only") }
