package manifest

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxKeyFile bounds what is read of a key file, in bytes.
const maxKeyFile = 4 << 10

// WriteKeyPair writes the key to name.key, readable by its owner only, and its
// public half to name.pub. It never overwrites: if either file exists, the
// error satisfies errors.Is(err, fs.ErrExist) and nothing is written.
func (k *PrivateKey) WriteKeyPair(name string) error {
	what := fmt.Sprintf("private %s key, keep it secret", k.Role())
	return writePair(name, secretText(k.Role(), algEd25519, what, k.key), publicText(k.Role(), k.public.Fingerprint(), k.public.String()))
}

// writePair writes the texts of both halves of a key.
func writePair(name, secret, public string) error {
	if err := writeNew(name+".key", secret, 0o600); err != nil {
		return err
	}
	if err := writeNew(name+".pub", public, 0o644); err != nil {
		return errors.Join(err, os.Remove(name+".key"))
	}
	return nil
}

// secretText is the content of a file that is secret; what says in words what it is.
func secretText(role Role, alg, what string, secret []byte) string {
	return fmt.Sprintf("# multicast upgrade: %s\n%s\n", what, keyText{true, role, alg, secret})
}

func publicText(role Role, fingerprint, word string) string {
	return fmt.Sprintf("# multicast upgrade: public %s key %s\n%s\n", role, fingerprint, word)
}

// writeNew makes a file that did not exist, or leaves none.
func writeNew(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// LoadPrivateKey reads a key file that WriteKeyPair wrote. The error is
// ErrKeyExposed if others than the owner may read the file (not checked on
// Windows), ErrKeyRole if the key is for another purpose than want, and
// ErrKeyFormat if it is not a private key.
func LoadPrivateKey(path string, want Role) (*PrivateKey, error) {
	raw, err := loadSecret(path, want, algEd25519)
	if err != nil {
		return nil, err
	}
	if len(raw) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%s: %w: %d bytes, want %d", path, ErrKeyFormat, len(raw), ed25519.PrivateKeySize)
	}
	key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	if !bytes.Equal(raw, key) {
		return nil, fmt.Errorf("%s: %w: its halves do not belong together", path, ErrKeyFormat)
	}
	return newPrivateKey(want, key), nil
}

// LoadPublicKey reads the public half that WriteKeyPair wrote. The error is
// ErrKeyRole if the key is for another purpose than want, and ErrKeyFormat if
// it is not a public key.
func LoadPublicKey(path string, want Role) (PublicKey, error) {
	word, _, err := readKeyFile(path)
	if err != nil {
		return PublicKey{}, err
	}
	k, err := parsePublicKey(word, want)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// loadSecret returns the secret in a file.
func loadSecret(path string, role Role, alg string) ([]byte, error) {
	word, info, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	raw, err := secretOf(word, role, alg)
	if err == nil {
		err = checkExposure(info)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return raw, nil
}

// secretOf returns the secret in the word of a key file.
func secretOf(word string, role Role, alg string) ([]byte, error) {
	k, err := parseKeyText(word)
	if err == nil {
		err = k.check(true, role, alg)
	}
	return k.raw, err
}

// readKeyFile returns the one word in a key file that is not a comment, and what the file is.
func readKeyFile(path string) (word string, info os.FileInfo, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	info, err = f.Stat() // of the open file: it cannot be exchanged in between
	if err != nil {
		return "", nil, err
	}
	if !info.Mode().IsRegular() {
		return "", nil, fmt.Errorf("%s: %w: not a regular file", path, ErrKeyFormat)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return "", nil, err
	}
	if len(text) > maxKeyFile {
		return "", nil, fmt.Errorf("%s: %w: longer than %d bytes", path, ErrKeyFormat, maxKeyFile)
	}
	if word, err = keyWord(text); err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	return word, info, nil
}

// keyWord returns the one word in the text of a key file that is not a comment.
func keyWord(text []byte) (word string, err error) {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case word != "":
			return "", fmt.Errorf("%w: more than one key in the file", ErrKeyFormat)
		default:
			word = line
		}
	}
	return word, nil
}
