package upgrade

import (
	"errors"
	"io/fs"

	"github.com/multicast-upgrade/tool/manifest"
)

// The key that an agent makes for itself, and the name it has until it is whole.
const (
	keyName    = "device"
	newKeyName = "device-new"
)

// openKey uses the device key in the directory, and makes it if there is none. A key that was shown to anybody is durable
// before that: a device that came back with another would be a stranger.
func (a *Agent) openKey() error {
	if !a.cfg.MakeKey || a.cfg.Key != nil {
		return nil
	}
	if !exists(a.fs, keyName+".key") {
		if err := a.makeKey(); err != nil {
			return err
		}
	}
	key, err := manifest.LoadPrivateKey(a.fs.Path(keyName+".key"), manifest.RoleDevice)
	a.cfg.Key = key
	return err
}

func (a *Agent) makeKey() error {
	for _, name := range []string{newKeyName + ".key", newKeyName + ".pub"} { // of a start that was cut off
		if err := a.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	key, err := manifest.GenerateKey(manifest.RoleDevice, nil)
	if err != nil {
		return err
	}
	if err := key.WriteKeyPair(a.fs.Path(newKeyName)); err != nil {
		return err
	}
	for _, half := range []string{".pub", ".key"} { // the private half last: with it there is a key
		if err := a.fs.Rename(newKeyName+half, keyName+half); err != nil {
			return err
		}
	}
	a.log.Info("a device key was made", "fingerprint", key.Public().Fingerprint())
	return a.fs.SyncDir(".")
}

// Fingerprint returns that of the device key, as a person compares it at the server; empty without a key.
func (a *Agent) Fingerprint() string {
	if a.cfg.Key == nil {
		return ""
	}
	return a.cfg.Key.Public().Fingerprint()
}
