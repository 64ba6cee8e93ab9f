//go:build man

package main

import "github.com/multicast-upgrade/tool/internal/cli"

// main writes the manuals: go run -tags man ./cmd/normrecv man
func main() { cli.ManualsMain(root(cli.OSWorld())) }
