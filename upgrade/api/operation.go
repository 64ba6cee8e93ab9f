package api

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/multicast-upgrade/tool/commit"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// A rule says who may do an operation, and what its body may be.
type rule struct {
	role   store.Role // the least that may; empty: every token
	device bool       // and a device, about itself
	body   func() any // what the JSON of the body is read into; nil: it is none
	limit  int64      // of the body, in bytes; 0: it has none, or (upload) the operation bounds it
	secret bool       // the answer holds a secret, and is not kept under an idempotency key
	upload bool       // the body is long, and is not held in memory
	stream bool       // the answer goes on and on
}

const (
	smallBody = 64 << 10
	draftBody = 64 << 20 // the names of commit.MaxTargets devices
)

func into[T any]() any { return new(T) }

// rules are all operations of the contract. What writes is an operator's, but for approvals and tokens.
var rules = map[string]rule{
	"GET /server":  {device: true},
	"GET /summary": {role: store.RoleViewer},

	"GET /releases":                          {role: store.RoleViewer},
	"POST /releases":                         {role: store.RoleOperator, limit: manifest.MaxFile},
	"GET /releases/{release}":                {role: store.RoleViewer},
	"DELETE /releases/{release}":             {role: store.RoleOperator},
	"PUT /releases/{release}/images/{image}": {role: store.RoleOperator, upload: true},
	"PUT /releases/{release}/file-keys":      {role: store.RoleOperator, limit: smallBody},
	"GET /devices":                           {role: store.RoleViewer},
	"GET /devices/{device}":                  {role: store.RoleViewer, device: true},
	"DELETE /devices/{device}":               {role: store.RoleOperator},
	"GET /devices/{device}/history":          {role: store.RoleViewer},
	"PUT /devices/{device}/place":            {role: store.RoleOperator, body: into[rest.Place], limit: smallBody},
	"POST /devices/{device}/approve":         {role: store.RoleOperator},
	"POST /devices/{device}/revoke":          {role: store.RoleOperator},
	"POST /devices/{device}/replace-key":     {role: store.RoleOperator},
	"GET /devices/{device}/diagnosis":        {role: store.RoleViewer},
	"POST /examinations":                     {role: store.RoleOperator, body: into[rest.NewExamination], limit: smallBody},
	"GET /diagnoses":                         {role: store.RoleViewer},
	"GET /enrolments":                        {role: store.RoleViewer},
	"POST /enrolments":                       {role: store.RoleOperator, body: into[rest.NewEnrolment], limit: smallBody, secret: true},
	"DELETE /enrolments/{enrolment}":         {role: store.RoleOperator},
	"GET /campaigns":                         {role: store.RoleViewer},
	"POST /campaigns":                        {role: store.RoleOperator, body: into[rest.Draft], limit: draftBody},
	"POST /campaigns/preview":                {role: store.RoleViewer, body: into[rest.Draft], limit: draftBody},
	"GET /campaigns/{campaign}":              {role: store.RoleViewer},
	"PUT /campaigns/{campaign}":              {role: store.RoleOperator, body: into[rest.Draft], limit: draftBody},
	"DELETE /campaigns/{campaign}":           {role: store.RoleOperator},
	"POST /campaigns/{campaign}/approve":     {role: store.RoleApprover},
	"POST /campaigns/{campaign}/start":       {role: store.RoleOperator},
	"POST /campaigns/{campaign}/resolve":     {role: store.RoleOperator, body: into[rest.Resolution], limit: smallBody},
	"POST /campaigns/{campaign}/pause":       {role: store.RoleOperator},
	"POST /campaigns/{campaign}/hold":        {role: store.RoleOperator},
	"POST /campaigns/{campaign}/resume":      {role: store.RoleOperator},
	"POST /campaigns/{campaign}/commit":      {role: store.RoleOperator},
	"POST /campaigns/{campaign}/abort":       {role: store.RoleOperator},
	"GET /campaigns/{campaign}/approvals":    {role: store.RoleViewer},
	"POST /campaigns/{campaign}/approvals":   {role: store.RoleOperator, limit: commit.MaxApproval},
	"GET /campaigns/{campaign}/evidence":     {role: store.RoleViewer, stream: true},
	"GET /campaigns/{campaign}/status":       {role: store.RoleViewer},
	"GET /campaigns/{campaign}/devices":      {role: store.RoleViewer},
	"GET /campaigns/{campaign}/sites":        {role: store.RoleViewer},
	"GET /campaigns/{campaign}/series":       {role: store.RoleViewer},
	"GET /events":                            {role: store.RoleViewer},
	"GET /events/stream":                     {role: store.RoleViewer, stream: true},
	"GET /tokens":                            {role: store.RoleAdmin},
	"POST /tokens":                           {role: store.RoleAdmin, body: into[rest.NewToken], limit: smallBody, secret: true},
	"DELETE /tokens/{token}":                 {role: store.RoleAdmin},
}

func (r rule) allows(role store.Role) bool {
	return role == store.RoleDevice && r.device || role.Covers(cmp.Or(r.role, store.RoleViewer))
}

// An Operation is one of the contract.
type Operation struct {
	Method, Path string     // of the contract, below /api/v1
	Role         store.Role // the least of people's roles that may do it; empty: any
	Device       bool       // a device may do it, about itself
}

// Operations returns all operations by path.
func Operations() []Operation {
	keys := slices.SortedFunc(maps.Keys(rules), func(a, b string) int {
		_, pathA, _ := strings.Cut(a, " ")
		_, pathB, _ := strings.Cut(b, " ")
		return strings.Compare(pathA+" "+a, pathB+" "+b)
	})
	all := make([]Operation, len(keys))
	for i, key := range keys {
		method, path, _ := strings.Cut(key, " ")
		all[i] = Operation{method, path, rules[key].role, rules[key].device}
	}
	return all
}
