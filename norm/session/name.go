package session

import (
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

// FileName reads the content of NORM_INFO as the name of a file. It must be a relative path of slash-separated
// elements, none of them empty, "." or "..", in UTF-8 without control characters, at most 1024 bytes long: whatever it
// is, joined to a directory it names something beneath that directory. Backslashes and colons, which have a meaning on
// some systems, are refused everywhere. The error says what is wrong with it without repeating it.
func FileName(info []byte) (string, error) {
	name := string(info)
	switch {
	case name == "":
		return "", fmt.Errorf("the name is empty")
	case len(name) > maxName:
		return "", fmt.Errorf("the name is %d bytes long, more than %d", len(name), maxName)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("the name is not UTF-8")
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("the name has control characters")
	case strings.ContainsAny(name, `\:`):
		return "", fmt.Errorf(`the name has a \ or a :`)
	case path.IsAbs(name):
		return "", fmt.Errorf("the name is an absolute path")
	}
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == "" || element == "." || element == "..":
			return "", fmt.Errorf("the name has an element %q", element)
		case len(element) > maxElement:
			return "", fmt.Errorf("the name has an element of %d bytes, more than %d", len(element), maxElement)
		case strings.HasPrefix(element, partPrefix):
			return "", fmt.Errorf("the name has an element that begins with %q, which is ours", partPrefix)
		}
	}
	return name, nil
}
