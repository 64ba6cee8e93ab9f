package upgrade

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/multicast-upgrade/tool/commit"
)

// ErrNotActive is what a health hook returns, or wraps, when the new image is not what runs: the power went before the
// activate hook had come far, or the boot loader has fallen back. Then activation is begun again, three times at most.
var ErrNotActive = errors.New("the new image does not run")

// A Step is a place in an upgrade where the device's own code is asked or told.
type Step string

const (
	StepVerify   Step = "verify"   // before READY: may this image be installed here?
	StepActivate Step = "activate" // after COMMIT: make it run, perhaps by restarting the system
	StepHealth   Step = "health"   // on the new image: does it work?
	StepRollback Step = "rollback" // activation or health failed: make the old one run again
)

// Hooks is the device's own code. Where there is none for a step: any image is good, it is renamed into DIR/current, it
// is healthy, and rolling back needs nothing.
//
// An image belongs to the hooks from verify on. After the outcome the agent may use its file again, so what is needed of
// it has to be copied during activate.
type Hooks interface {
	Has(Step) bool
	// Run does a step; nil is success. It may be called again with the same Activation after a crash. An error that
	// wraps context.DeadlineExceeded is reported as a timeout.
	Run(ctx context.Context, step Step, c HookContext) error
}

// A HookContext is what hooks are told.
type HookContext struct {
	Device, Product, Hardware string
	Version                   string   // of the release
	Images                    []string // paths, in manifest order; they end in the images' names
	Manifest                  string   // path of the signed manifest
	Digest                    string   // its digest, in hexadecimal
	Campaign                  string   // id in hexadecimal
	Slot                      string   // that the first image is in, or the one that Slots.Image names; empty without slots
	Activation                string   // the same for every try of one activation, and of no other; empty for verify
}

// Environ returns the context as environment variables.
func (c HookContext) Environ() []string {
	image := ""
	if len(c.Images) > 0 {
		image = c.Images[0]
	}
	return []string{
		"UPGRADE_IMAGE=" + image, // the first one
		"UPGRADE_IMAGES=" + strings.Join(c.Images, string(os.PathListSeparator)),
		"UPGRADE_SLOT=" + c.Slot,
		"UPGRADE_VERSION=" + c.Version,
		"UPGRADE_MANIFEST=" + c.Manifest,
		"UPGRADE_MANIFEST_DIGEST=" + c.Digest,
		"UPGRADE_CAMPAIGN=" + c.Campaign,
		"UPGRADE_ACTIVATION_ID=" + c.Activation,
		"UPGRADE_DEVICE=" + c.Device,
		"UPGRADE_PRODUCT=" + c.Product,
		"UPGRADE_HARDWARE=" + c.Hardware,
	}
}

// reason returns why a step failed, as it is voted or reported.
func (s Step) reason(err error) commit.Reason {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return commit.ReasonHookTimeout
	case s == StepHealth && errors.Is(err, ErrNotActive):
		return commit.ReasonNotActive
	}
	switch s {
	case StepVerify:
		return commit.ReasonVerifyHook
	case StepActivate:
		return commit.ReasonActivateHook
	case StepHealth:
		return commit.ReasonHealth
	}
	return commit.ReasonRollbackHook
}
