package store

import (
	"crypto/rand"
	"strings"
)

// An Owner is who has a lease: one process of a server. Its text is the server's name, the URL at which other servers reach
// it, and what tells its processes apart, with spaces between.
type Owner string

// NewOwner returns an Owner that no other process is. Neither name nor url has a space in it; url may be empty.
func NewOwner(name, url string) Owner { return Owner(name + " " + url + " " + rand.Text()[:8]) }

// Name returns the server's name.
func (o Owner) Name() string { return o.word(0) }

// URL returns where other servers reach it, empty if that is not known.
func (o Owner) URL() string { return o.word(1) }

func (o Owner) word(i int) string {
	if words := strings.Split(string(o), " "); len(words) == 3 {
		return words[i]
	} else if i == 0 {
		return words[0] // of an older version, without a URL
	}
	return ""
}

// Actor returns how people are told of it: name and URL.
func (o Owner) Actor() string { return strings.TrimSpace(o.Name() + " " + o.URL()) }
