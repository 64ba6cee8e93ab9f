package normtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/norm"
)

// Args are the words and the key=value pairs behind a command. A getter that meets a value it cannot read keeps the
// first error for done, which also finds what no getter asked for.
type args struct {
	words []string
	keys  map[string]string
	err   error
}

func parseArgs(fields []string) *args {
	a := &args{keys: make(map[string]string)}
	for _, f := range fields {
		if key, value, ok := strings.Cut(f, "="); ok {
			a.keys[key] = value
		} else {
			a.words = append(a.words, f)
		}
	}
	return a
}

func (a *args) done() error {
	for key := range a.keys {
		a.fail("%s= means nothing here", key)
	}
	if len(a.words) > 0 {
		a.fail("%q means nothing here", a.words[0])
	}
	return a.err
}

func (a *args) fail(format string, values ...any) {
	if a.err == nil {
		a.err = fmt.Errorf(format, values...)
	}
}

// word takes the next word, which the script must give.
func (a *args) word(what string) string {
	if len(a.words) == 0 {
		a.fail("%s is missing", what)
		return ""
	}
	w := a.words[0]
	a.words = a.words[1:]
	return w
}

// rest takes all words that are left.
func (a *args) rest() []string {
	words := a.words
	a.words = nil
	return words
}

// has takes a word that may stand anywhere.
func (a *args) has(word string) bool {
	i := slices.Index(a.words, word)
	if i >= 0 {
		a.words = slices.Delete(a.words, i, i+1)
	}
	return i >= 0
}

func (a *args) given(key string) bool {
	_, ok := a.keys[key]
	return ok
}

// take returns the value of key as read by parse, or otherwise if the script does not give it.
func take[T any](a *args, key string, otherwise T, parse func(string) (T, error)) T {
	value, ok := a.keys[key]
	if !ok {
		return otherwise
	}
	delete(a.keys, key)
	v, err := parse(value)
	if err != nil {
		a.fail("%s=%s: %v", key, value, err)
		return otherwise
	}
	return v
}

func (a *args) text(key, otherwise string) string {
	return take(a, key, otherwise, func(s string) (string, error) { return s, nil })
}

func (a *args) int(key string, otherwise int) int { return take(a, key, otherwise, strconv.Atoi) }

func (a *args) uint32(key string, otherwise uint32) uint32 {
	return take(a, key, otherwise, func(s string) (uint32, error) {
		n, err := strconv.ParseUint(s, 10, 32)
		return uint32(n), err
	})
}

func (a *args) duration(key string, otherwise time.Duration) time.Duration {
	return take(a, key, otherwise, time.ParseDuration)
}

func (a *args) float(key string, otherwise float64) float64 {
	return take(a, key, otherwise, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
}

// rate reads bits per second, such as 64k or 1.5M.
func (a *args) rate(key string, otherwise float64) float64 { return take(a, key, otherwise, parseRate) }

func parseRate(s string) (float64, error) {
	scale := 1.0
	if i := strings.IndexAny(s, "kMG"); i >= 0 && i == len(s)-1 {
		scale = map[byte]float64{'k': 1e3, 'M': 1e6, 'G': 1e9}[s[i]]
		s = s[:i]
	}
	r, err := strconv.ParseFloat(s, 64)
	return r * scale, err
}

func (a *args) list(key string) []string {
	return take(a, key, nil, func(s string) ([]string, error) { return strings.Split(s, ","), nil })
}

// span reads offset+length, in bytes.
func (a *args) span(key string) (r norm.Range) {
	return take(a, key, r, func(s string) (norm.Range, error) {
		_, err := fmt.Sscanf(s, "%d+%d", &r.Offset, &r.Length)
		return r, err
	})
}

// choice returns the value of key that stands beside the word given; the first is the default.
func choice[T any](a *args, key string, names []string, values []T) T {
	return take(a, key, values[0], func(s string) (T, error) {
		if i := slices.Index(names, s); i >= 0 {
			return values[i], nil
		}
		return values[0], fmt.Errorf("want one of %s", strings.Join(names, ", "))
	})
}
