package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// FuzzConfig reads any configuration file: what is wrong with it is said in one line that names the file.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("rate = '10M'\n[send]\nsize = '64KiB'\ntimeout = '3s'\nnames = ['a', 'b']\n"))
	f.Add([]byte("unknown = 1\n"))
	f.Add([]byte("[send.deeper]\nx = 1979-05-27\n"))
	f.Add([]byte("rate = {}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, in, 0o600); err != nil {
			t.Fatal(err)
		}
		root, send := &cobra.Command{Use: "tool"}, &cobra.Command{Use: "send", Run: func(*cobra.Command, []string) {}}
		root.AddCommand(send)
		var rate BitRate
		var size Size
		wait := Duration(time.Second)
		send.Flags().Var(&rate, "rate", "")
		send.Flags().Var(&size, "size", "")
		send.Flags().Var(&wait, "timeout", "")
		send.Flags().StringArray("names", nil, "")
		if err := readConfig(send, file); err != nil && !strings.HasPrefix(err.Error(), file+": ") {
			t.Errorf("%v", err)
		}
	})
}
