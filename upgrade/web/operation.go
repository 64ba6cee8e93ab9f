package web

import (
	"sync"

	"github.com/multicast-upgrade/tool/upgrade/api"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// operations are those of the REST API, with the role that each needs.
var operations = sync.OnceValue(func() map[string]store.Role {
	roles := map[string]store.Role{}
	for _, op := range api.Operations() {
		roles[op.Method+" "+op.Path] = op.Role
	}
	return roles
})

// roleFor returns the role that an operation of the REST API needs.
func roleFor(operation string) (store.Role, bool) {
	role, ok := operations()[operation]
	return role, ok
}
