package clitest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	codeBlock = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```")
	codeLine  = regexp.MustCompile(`(?m)^(?:    |\t).*$`)
	codeSpan  = regexp.MustCompile("`[^`]+`")
	quoted    = regexp.MustCompile(`"[^"]*"|'[^']*'`)
)

// CheckDocuments holds that the command lines of a program in the README and in docs are such that there is: each command,
// and each flag of it. The program's own examples are held to that, too. It returns how many there are.
func CheckDocuments(t testing.TB, root *cobra.Command) (lines int) {
	t.Helper()
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(documents) == 0 {
		t.Fatal(documents, err)
	}
	for _, path := range append(documents, "../../README.md", "../../examples/README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var code []string
		for _, m := range codeBlock.FindAllStringSubmatch(string(text), -1) {
			code = append(code, strings.Split(strings.ReplaceAll(m[1], "\\\n", " "), "\n")...)
		}
		rest := codeBlock.ReplaceAllString(string(text), "")
		code = append(code, codeLine.FindAllString(strings.ReplaceAll(rest, "\\\n", " "), -1)...)
		for _, span := range codeSpan.FindAllString(rest, -1) {
			code = append(code, strings.ReplaceAll(strings.Trim(span, "`"), "\n", " "))
		}
		lines += checkLines(t, root, path, code)
	}
	for _, c := range allCommands(root) {
		lines += checkLines(t, root, c.CommandPath()+" --help", strings.Split(strings.ReplaceAll(c.Example, "\\\n", " "), "\n"))
	}
	return lines
}

func allCommands(c *cobra.Command) (all []*cobra.Command) {
	for _, sub := range c.Commands() {
		all = append(append(all, sub), allCommands(sub)...)
	}
	return all
}

// checkLines checks those lines that call the program, and returns how many they are.
func checkLines(t testing.TB, root *cobra.Command, where string, code []string) (lines int) {
	t.Helper()
	for _, line := range code {
		words := strings.Fields(quoted.ReplaceAllString(strings.TrimPrefix(strings.TrimSpace(line), "$ "), "TEXT"))
		if i := slices.Index(words, "#"); i >= 0 {
			words = words[:i]
		}
		if len(words) < 2 || words[0] != root.Name() {
			continue
		}
		lines++
		c, _, err := root.Find(words[1:])
		if err != nil || c == root && !strings.HasPrefix(words[1], "-") {
			t.Errorf("%s: %s: there is no such command", where, strings.TrimSpace(line))
			continue
		}
		for _, word := range words {
			name, _, _ := strings.Cut(strings.TrimLeft(word, "[("), "=")
			name, flag := strings.CutPrefix(strings.TrimRight(name, ",.;:)]…"), "--")
			if flag && name != "" && name != "help" && c.Flag(name) == nil {
				t.Errorf("%s: %s: %s has no flag --%s", where, strings.TrimSpace(line), c.CommandPath(), name)
			}
		}
	}
	return lines
}
