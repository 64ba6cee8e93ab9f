package session

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName    = 1024 // bytes of a whole name
	maxElement = 255  // bytes of one element of it, as file systems have it
)

// ErrName is wrapped by what [FileName] refuses.
var ErrName = errors.New("no name for a file")

// FileName reads the content of NORM_INFO as the name of a file. It must be a relative path of slash-separated
// elements, none of them empty, "." or "..", in UTF-8 without control characters, at most 1024 bytes long: whatever it
// is, joined to a directory it names something beneath that directory. Backslashes and colons, which have a meaning on
// some systems, are refused everywhere. The error says what is wrong with it without repeating it.
func FileName(info []byte) (string, error) {
	name := string(info)
	switch {
	case name == "":
		return "", fmt.Errorf("%w: it is empty", ErrName)
	case len(name) > maxName:
		return "", fmt.Errorf("%w: it is %d bytes long, more than %d", ErrName, len(name), maxName)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("%w: it is not UTF-8", ErrName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("%w: it has control characters", ErrName)
	case strings.ContainsAny(name, `\:`):
		return "", fmt.Errorf(`%w: it has a backslash or a colon`, ErrName)
	case path.IsAbs(name):
		return "", fmt.Errorf("%w: it is an absolute path", ErrName)
	}
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == "" || element == "." || element == "..":
			return "", fmt.Errorf("%w: it has an element %q", ErrName, element)
		case len(element) > maxElement:
			return "", fmt.Errorf("%w: it has an element of %d bytes, more than %d", ErrName, len(element), maxElement)
		case strings.HasPrefix(element, partPrefix):
			return "", fmt.Errorf("%w: it has an element that begins with %q, which is ours", ErrName, partPrefix)
		}
	}
	return name, nil
}
