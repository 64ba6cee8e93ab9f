package norm

import "errors"

// Why an object was aborted or purged ([Event].Err).
var (
	ErrSquelched       = errors.New("norm: the sender no longer repairs this object")
	ErrSenderEnded     = errors.New("norm: the sender ended the session")
	ErrSenderRestarted = errors.New("norm: the sender restarted")
	ErrSenderLost      = errors.New("norm: the sender fell silent")
	ErrOverdue         = errors.New("norm: incomplete for longer than MaxDelay")
	ErrEvicted         = errors.New("norm: dropped to stay within the configured limits")
	ErrCancelled       = errors.New("norm: cancelled by the application")
)

// Mistakes of the caller.
var (
	ErrUnknownObject   = errors.New("norm: no such object")
	ErrTooManyObjects  = errors.New("norm: too many objects are held; raise MaxObjects or cancel some")
	ErrTooManyRequests = errors.New("norm: too many requests or commands are under way; wait for some to be done")
	ErrUnknownRequest  = errors.New("norm: no such request for acknowledgments")
	ErrEnding          = errors.New("norm: the sender is ending")
	ErrStreamClosed    = errors.New("norm: the stream is closed")
)
