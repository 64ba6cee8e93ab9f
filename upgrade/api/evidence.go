package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/fleet"
)

func (s server) DownloadEvidence(ctx context.Context, r rest.DownloadEvidenceRequestObject) (rest.DownloadEvidenceResponseObject, error) {
	id, err := campaignOf(r.Campaign)
	if err != nil {
		return nil, err
	}
	write, err := s.fleet.Evidence(ctx, id)
	if errors.Is(err, fleet.ErrBusy) {
		busy := refuse(http.StatusServiceUnavailable, rest.ReasonBusy, "%v", err)
		busy.retry = 10 * time.Second
		err = busy
	}
	return download{write}, err
}

// A download is an answer that is written as it is read.
type download struct{ write func(io.Writer) error }

func (d download) VisitDownloadEvidenceResponse(w http.ResponseWriter) error {
	Download(w, d.write)
	return nil
}

// Download answers with what write writes, which may take as long as it will, while it goes on. If that fails the connection is cut:
// the status is out, and who reads has to see that the rest is missing.
func Download(w http.ResponseWriter, write func(io.Writer) error) {
	c := http.NewResponseController(w)
	defer c.SetWriteDeadline(time.Time{})
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := write(patientWriter{w, c}); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// A patientWriter has as long for each part as an answer has that is held in memory.
type patientWriter struct {
	w io.Writer
	c *http.ResponseController
}

func (p patientWriter) Write(b []byte) (int, error) {
	p.c.SetWriteDeadline(time.Now().Add(answerTimeout))
	return p.w.Write(b)
}
