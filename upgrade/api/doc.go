// Package api serves the REST API of a fleet server, whose contract is openapi.yaml: [New] puts it in front of a
// [fleet.Server] and its store. The types, the server's interface and a client are generated from the contract, in
// package rest.
//
// What a request has to pass before its operation is done, in this order: the limit of its address, its token, the role
// that the operation wants ([Operations]), the limit of the token, the size of its body and, if it has an
// Idempotency-Key, that it was not done before. Errors are told as problem documents (RFC 9457).
package api
