package upgrade_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
)

func TestReadTargets(t *testing.T) {
	key := func(name string) manifest.PublicKey { return testKey(manifest.RoleDevice, name).Public() }
	in := fmt.Sprintf("# phones of the branch offices\n\nphone-1 berlin %s\n  phone-2\t- %s # spare\nphone-3 oslo -\nphone-4\n", key("1"), key("2"))
	got, err := upgrade.ReadTargets(strings.NewReader(in), "devices")
	want := []commit.Target{{Device: "phone-1", Site: "berlin", Key: key("1")}, {Device: "phone-2", Key: key("2")},
		{Device: "phone-3", Site: "oslo"}, {Device: "phone-4"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestReadTargetsSaysWhatIsWrong(t *testing.T) {
	key, server := testKey(manifest.RoleDevice, "1").Public(), testKey(manifest.RoleServer, "s").Public()
	for name, tt := range map[string]struct{ in, want string }{
		"empty":      {"# nobody\n", "devices: no device is listed"},
		"name":       {"a\n../b\n", `devices:2: device id "../b"`},
		"site":       {"a b/c\n", `devices:1: site "b/c"`},
		"fields":     {"a b c d\n", "devices:1: 4 fields"},
		"key":        {"a b device:ed25519:xx\n", "devices:1: public key of device a: "},
		"role":       {"a b " + server.String() + "\n", "devices:1: public key of device a: key has another role"},
		"twice":      {"a\nb\na\n", "devices:3: device a is already on line 1"},
		"shared key": {"a - " + key.String() + "\nb - " + key.String() + "\n", "devices:2: device b has the key of a"},
		"long line":  {"a\n" + strings.Repeat("x", 5000) + "\n", "devices:2: the line is longer than 1024 bytes"},
		"control":    {"a\x1b[2J\n", `devices:1: device id "a\x1b[2J"`},
		"several":    {"../a\n../b\n", "devices:2: "},
		"binary":     {"\x00\x01\x02", `devices:1: device id "\x00\x01\x02"`},
		"byte order": {"\ufeffa\n", "devices:1: device id"},
	} {
		got, err := upgrade.ReadTargets(strings.NewReader(tt.in), "devices")
		if err == nil || got != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v; want an error with %q", name, got, err, tt.want)
		}
	}
	// However bad the file, the error stays short.
	_, err := upgrade.ReadTargets(strings.NewReader(strings.Repeat("..\n", 1000)), "devices")
	if lines := strings.Count(err.Error(), "\n") + 1; lines > 10 {
		t.Errorf("%d lines of errors", lines)
	}
}
