// Package interop holds no code, only tests: live exchanges with NRL's implementation of NORM (libnorm) and with libzmq's
// norm:// transport, in both directions, and what libnorm once sent, replayed.
//
// The live tests compile the programs in peers against the distribution's packages (libnorm-dev, libzmq3-dev, g++,
// pkg-config). Without those they skip and say why, unless the environment has REQUIRE_INTEROP=1, as continuous integration does. NORM has no
// checksum over objects, and a wrong Reed-Solomon code corrupts silently; so every exchange compares content by SHA-256, and
// those about repair count what was lost.
//
//	go test ./interop                    exchanges and replay
//	go test ./interop -run TestReplay    replay only: needs no package
//	go test ./interop -record            refreshes testdata/recordings
//	go test ./interop -update            rewrites docs/interop.md after an exchange was added
package interop
