package commit

import (
	"errors"
	"fmt"
)

// A Log keeps the records of one machine. Append returns when all recs are on stable storage, or an error when it is
// not known whether they are; it never keeps some of recs without the others. Package filestore has one.
type Log interface {
	Append(recs ...[]byte) error
}

// ErrLog is wrapped by every method once the log of the machine has failed.
var ErrLog = errors.New("commit: log failed")

// ErrRecord is wrapped when a log holds what this package did not write.
var ErrRecord = errors.New("commit: log holds a foreign record")

// A journal is a Log that stays failed.
type journal struct {
	log Log
	err error
}

func (j *journal) append(recs ...[]byte) error {
	if j.err == nil {
		if err := j.log.Append(recs...); err != nil {
			j.err = fmt.Errorf("%w: %w", ErrLog, err)
		}
	}
	return j.err
}
