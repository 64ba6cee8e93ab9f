package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A refusal is an error in words for the person who asked.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

// explain returns an error for people. Errors that are nobody's mistake are in the log alone.
func explain(err error) (status int, text string) {
	if own, ok := errors.AsType[*refusal](err); ok {
		return own.status, own.text
	}
	if overlap, ok := errors.AsType[*store.OverlapError](err); ok {
		first := overlap.Devices[0]
		return http.StatusConflict, fmt.Sprintf("Device %s is a target of campaign “%s”, which is not over yet. A device can be in one campaign at a time.", first.Device, first.Name)
	}
	if other, ok := errors.AsType[*fleet.NotLeaderError](err); ok {
		if other.Leader == "" {
			return http.StatusServiceUnavailable, "No server leads this campaign at the moment. Try again in some seconds."
		}
		return http.StatusServiceUnavailable, "Server " + other.Leader + " leads this campaign. Use its page."
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, "That is more than the server takes at once."
	}
	for _, known := range explained {
		if errors.Is(err, known.err) {
			if known.detail {
				return known.status, known.text + " " + plain(err)
			}
			return known.status, known.text
		}
	}
	return http.StatusInternalServerError, "The server could not do it. Its log says why."
}

// explained says errors that people can do something about; the first that fits counts.
var explained = []struct {
	err    error
	status int
	text   string
	detail bool
}{
	{commit.ErrNotReady, http.StatusConflict, "The policy is not met: not enough devices are ready.", false},
	{commit.ErrNotApproved, http.StatusConflict, "Approvers have not signed who have to, so no device would act on a COMMIT.", false},
	{commit.ErrMessage, http.StatusUnprocessableEntity, "That is no signature of an approver, as normsend approve writes it.", false},
	{fleet.ErrBusy, http.StatusServiceUnavailable, "The server does that for many others. Try again in some seconds.", false},
	{commit.ErrDecided, http.StatusConflict, "It was decided before.", false},
	{commit.ErrRestored, http.StatusConflict, "The database was restored from a backup: this campaign takes the decision that a device shows, and makes none.", false},
	{store.ErrSamePerson, http.StatusForbidden, "A campaign is approved by somebody else than who made it or changed it last.", false},
	{store.ErrNotApproved, http.StatusConflict, "A second person has to approve this campaign before it can start.", false},
	{store.ErrConflict, http.StatusConflict, "Somebody else changed this meanwhile. Look at it again before you go on.", false},
	{store.ErrNoGroup, http.StatusConflict, "Each multicast group that it may have is another campaign's. Wait, or give it one of its own.", false},
	{fleet.ErrNoTargets, http.StatusConflict, "No device matches that could be a target. Devices count when their key is approved.", false},
	{fleet.ErrImages, http.StatusConflict, "Images of the release are missing. Upload them first.", false},
	{fleet.ErrForeignKeys, http.StatusUnprocessableEntity, "They are the file keys of another release.", false},
	{fleet.ErrFileKeys, http.StatusConflict, "The images are sealed, and their file keys are missing. Upload fw.seal first.", false},
	{manifest.ErrKeyFormat, http.StatusUnprocessableEntity, "The file holds no file keys. It is the one that normsend sign has written beside the manifest: fw.seal.", false},
	{manifest.ErrKeyRole, http.StatusUnprocessableEntity, "The file holds keys of another kind. Wanted is fw.seal, which normsend sign has written beside the manifest.", false},
	{fleet.ErrAnnounced, http.StatusConflict, "The campaign runs already. Abort it instead.", false},
	{fleet.ErrOpen, http.StatusConflict, "The device is a target of a campaign that is not over yet.", false},
	{fleet.ErrSettings, http.StatusUnprocessableEntity, "The campaign cannot be as it is written:", true},
	{manifest.ErrSignature, http.StatusUnprocessableEntity, "The manifest is not signed by enough release keys that this server trusts.", false},
	{manifest.ErrExpired, http.StatusUnprocessableEntity, "The release has expired.", false},
	{manifest.ErrImage, http.StatusUnprocessableEntity, "The file is not the image of the manifest.", false},
	{store.ErrContent, http.StatusUnprocessableEntity, "The file is not the image of the manifest:", true},
	{store.ErrExists, http.StatusConflict, "It is there already.", false},
	{store.ErrState, http.StatusConflict, "That is not possible any more:", true},
	{store.ErrNotFound, http.StatusNotFound, "There is no such thing here.", false},
	{store.ErrInvalid, http.StatusUnprocessableEntity, "That cannot be taken:", true},
}

// plain returns an error without the names of packages.
func plain(err error) string {
	text := err.Error()
	for _, prefix := range []string{"store: ", "fleet: ", "commit: ", "manifest: "} {
		text = strings.ReplaceAll(text, prefix, "")
	}
	for _, prefix := range []string{"the campaign cannot be as it is written: ", "not in this state: ", "invalid: ", "not the image of the manifest: "} {
		text = strings.ReplaceAll(text, prefix, "")
	}
	return strings.ReplaceAll(text, "\n", "; ")
}

func sayMoment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// sayBytes returns a size as people write it.
func sayBytes(n int64) string {
	const k = 1000
	switch {
	case n < k:
		return group(int(n)) + " B"
	case n < k*k:
		return fmt.Sprintf("%.1f kB", float64(n)/k)
	case n < k*k*k:
		return fmt.Sprintf("%.1f MB", float64(n)/k/k)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/k/k/k)
}

func sayRate(bits float64) string {
	if bits < 1e6 {
		return fmt.Sprintf("%.0f kbit/s", bits/1e3)
	}
	return fmt.Sprintf("%.1f Mbit/s", bits/1e6)
}

// saySpan returns a duration in its two largest units.
func saySpan(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()+0.5))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days %d h", int(d.Hours())/24, int(d.Hours())%24)
}

func sayPhase(p store.CampaignPhase) string {
	return map[store.CampaignPhase]string{store.PhaseDraft: "draft", store.PhaseScheduled: "scheduled", store.PhaseRunning: "running",
		store.PhasePaused: "paused", store.PhaseClosed: "closed"}[p]
}

// sayCause returns a [fleet.Cause] for the head of a list.
func sayCause(c string) string {
	if text := causes[fleet.Cause(c)]; text != "" {
		return text
	}
	return c
}

var causes = map[fleet.Cause]string{
	fleet.CauseNeverJoined: "never joined", fleet.CauseNoData: "joined, no data", fleet.CauseOverruns: "too slow for the rate",
	fleet.CauseLoss: "the network loses too much", fleet.CauseByHTTP: "no multicast, fetches by HTTP", fleet.CauseReceiving: "receiving",
	fleet.CauseVerifying: "verifying", fleet.CauseRefused: "refused", fleet.CauseDuplicate: "key lives in two agents",
	fleet.CauseReleased: "gave its stage up", fleet.CauseAborted: "aborted", fleet.CauseNoOutcome: "committed, outcome unknown",
	fleet.CauseFailed: "failed or rolled back",
}

// sayAction returns an action of the audit trail.
func sayAction(a string) string {
	if text := actions[a]; text != "" {
		return text
	}
	return a
}

var actions = map[string]string{
	"release.add": "uploaded the manifest of", "image.add": "uploaded the image", "release.remove": "removed a release",
	"device.key": "showed a key", "device.enrol": "enrolled", "device.key-approved": "approved the key of", "device.key-revoked": "revoked the key of",
	"examination.add": "had devices examine their network", "device.place": "set site and tags of", "device.key-removed": "forgot the key of", "device.remove": "removed device", "device.duplicate": "found a key twice:",
	"campaign.add": "made a draft", "campaign.change": "changed a draft", "campaign.approve": "approved",
	"campaign.scheduled": "started", "campaign.running": "began", "campaign.closed": "closed", "campaign.commit": "agreed to COMMIT", "campaign.agree": "brought the signature of an approver for",
	"campaign.abort": "aborted", "campaign.hold": "held", "campaign.pause": "paused", "campaign.paused": "paused by itself:", "campaign.resume": "resumed", "campaign.lead": "leads", "campaign.resolve": "said after a restore how it goes on:",
	"database.restored": "restored the database from a backup", "setting.put": "changed a setting",
	"token.create": "made a token for", "token.revoke": "revoked a token", "enrolment.create": "made an enrolment for", "enrolment.revoke": "revoked an enrolment for",
}

// sayPolicy returns when devices may activate.
func sayPolicy(p store.Policy) string {
	w := p.Waves[0]
	var parts []string
	switch {
	case w.Quorum == 0 || w.Quorum == 100:
		parts = append(parts, "when all devices are ready")
	default:
		parts = append(parts, fmt.Sprintf("when %d %% of the devices are ready", w.Quorum))
	}
	if w.SiteQuorum > 0 {
		parts = append(parts, fmt.Sprintf("%d %% of each site", w.SiteQuorum))
	}
	if n := len(w.Must); n > 0 {
		parts = append(parts, count(n, "named device", "named devices"))
	}
	text := strings.Join(parts, ", and ")
	if w.Ask {
		text += "; a person is asked"
	}
	return text
}

func saySchedule(s store.Schedule) string {
	var text string
	if s.At.IsZero() {
		text = "at once"
	} else {
		text = "at " + sayMoment(s.At) + " UTC"
	}
	switch {
	case s.Joined > 0 && s.Wait > 0:
		text += fmt.Sprintf(", as soon as %s wait, or after %s", count(s.Joined, "device", "devices"), saySpan(s.Wait))
	case s.Joined > 0:
		text += fmt.Sprintf(", as soon as %s wait", count(s.Joined, "device", "devices"))
	case s.Wait > 0:
		text += ", after " + saySpan(s.Wait)
	}
	return text
}

func sayTargets(sel store.Selector) string {
	var parts []string
	for _, f := range []struct {
		name   string
		values []string
	}{{"product", sel.Products}, {"site", sel.Sites}, {"tag", sel.Tags}} {
		if len(f.values) > 0 {
			parts = append(parts, f.name+" "+strings.Join(f.values, " or "))
		}
	}
	if n := len(sel.Devices); n > 0 {
		parts = append(parts, "a list of "+count(n, "device", "devices"))
	}
	return strings.Join(parts, ", ")
}

// sayAbout returns what an event of the audit trail was done to; empty if the actor says it.
func sayAbout(e store.Event) string {
	var detail struct{ Name, Device, Product, Version string }
	json.Unmarshal(e.Detail, &detail) // what has no such fields is named by its subject
	switch {
	case e.Subject == e.Actor:
		return ""
	case strings.HasPrefix(e.Action, "token."):
		return detail.Name
	case strings.HasPrefix(e.Action, "enrolment."):
		return cmp.Or(detail.Device, "any device")
	case detail.Product != "" && detail.Version != "":
		return detail.Product + " " + detail.Version
	case strings.HasPrefix(e.Action, "release."):
		return fmt.Sprintf("%.12s", e.Subject)
	}
	return e.Subject
}
