package manifest

import (
	"errors"
	"strings"
	"testing"
)

func TestRootChain(t *testing.T) {
	one, two := signRoot(t, testRoot(t), 1, 2), signRoot(t, fullRoot(t), 1, 2)
	third := fullRoot(t).follows(fullRoot(t).Release)
	three := signRoot(t, third, 1, 5)
	chain, err := OpenRootChain(three, one, two) // in any order
	if err != nil {
		t.Fatal(err)
	}
	if chain.Newest.Version != 3 || len(chain.Signed) != 3 || string(chain.Last()) != string(three) || string(chain.Signed[1]) != string(one) {
		t.Errorf("chain to version %d of %d", chain.Newest.Version, len(chain.Signed))
	}
	if err := chain.NamesServer(testKey(t, RoleServer, 6).Public()); err != nil {
		t.Error(err)
	}
	if err := chain.NamesServer(testKey(t, RoleServer, 9).Public()); err == nil {
		t.Error("a server key that no root names")
	}
	if (*RootChain)(nil).Last() != nil {
		t.Error("a root of no chain")
	}
	for name, tt := range map[string]struct {
		documents [][]byte
		want      string
	}{
		"none":     {nil, "no root document"},
		"a gap":    {[][]byte{one, three}, "root 2 is missing"},
		"twice":    {[][]byte{one, two, two}, "root 2 is there twice"},
		"unsigned": {[][]byte{one, signRoot(t, fullRoot(t), 1)}, "root 2: "},
		"another":  {[][]byte{signRoot(t, testRoot(t).follows(rootKeys(t, 1, 9)), 9), three}, "root 3: "},
		"no root":  {[][]byte{one, []byte("root")}, "not a signed root"},
	} {
		if _, err := OpenRootChain(tt.documents...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if _, err := OpenRootChain(signRoot(t, testRoot(t), 1)); !errors.Is(err, ErrSignature) {
		t.Errorf("a first root that too few have signed: %v", err)
	}
}
