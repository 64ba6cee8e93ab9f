package manifest

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// A keyText is a key, or another secret, as files and lists have it: "role:algorithm:base64url", and "private:" before that
// where nobody else may see it.
type keyText struct {
	private bool
	role    Role
	alg     string
	raw     []byte
}

const privateWord = "private"

func (k keyText) String() string {
	word := fmt.Sprintf("%s:%s:%s", k.role, k.alg, base64.RawURLEncoding.EncodeToString(k.raw))
	if k.private {
		word = privateWord + ":" + word
	}
	return word
}

// parseKeyText reads the one text that String makes of a key. The error is ErrKeyFormat.
func parseKeyText(word string) (k keyText, err error) {
	word, k.private = strings.CutPrefix(word, privateWord+":")
	fields := strings.Split(word, ":")
	if len(fields) != 3 {
		return k, fmt.Errorf("%w: want role:algorithm:base64url", ErrKeyFormat)
	}
	if k.role, k.alg = Role(fields[0]), fields[1]; !k.role.inTexts() {
		return k, fmt.Errorf("%w: unknown role %.32q", ErrKeyFormat, fields[0])
	}
	k.raw, err = base64.RawURLEncoding.DecodeString(fields[2])
	if err != nil || base64.RawURLEncoding.EncodeToString(k.raw) != fields[2] { // the decoder skips newlines
		return k, fmt.Errorf("%w: want role:algorithm:base64url", ErrKeyFormat)
	}
	return k, nil
}

// inTexts reports whether r is the role of something that has a text form.
func (r Role) inTexts() bool {
	return r.valid() || r == RoleGroup || r == RoleSeal || r == roleFileKeys
}

// check returns nil if the text is what is wanted, ErrKeyRole if it is for another purpose, and otherwise ErrKeyFormat.
func (k keyText) check(private bool, role Role, alg string) error {
	switch {
	case k.role != role:
		return fmt.Errorf("%w: it is of role %s, want %s", ErrKeyRole, k.role, role)
	case private && !k.private:
		return fmt.Errorf("%w: this is a public key, the private one is needed", ErrKeyFormat)
	case !private && k.private:
		return fmt.Errorf("%w: this is a private key, the public one is needed", ErrKeyFormat)
	case k.alg != alg:
		return fmt.Errorf("%w: unknown algorithm %.32q, want %s", ErrKeyFormat, k.alg, alg)
	}
	return nil
}
