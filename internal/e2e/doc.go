// Package e2e has no code but tests: of the commands as people run them, processes on hosts of a network, which are
// Linux network namespaces. They need root, as package netns says.
package e2e
