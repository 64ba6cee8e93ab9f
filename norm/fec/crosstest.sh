#!/bin/sh
# Runs the tests of packages on processors other than this one's, big-endian and 32-bit ones among them, under
# user-mode emulation (Debian: qemu-user-static). On arm and mips the Reed-Solomon kernel is the portable one.
#
#   norm/fec/crosstest.sh [package...]     from the module's root; default ./norm/fec
set -eu
[ $# -gt 0 ] || set -- ./norm/fec
for target in arm:arm arm64:aarch64 mipsle:mipsel mips:mips; do
	echo "GOARCH=${target%:*}"
	CGO_ENABLED=0 GOARCH=${target%:*} go test -exec "qemu-${target#*:}-static" "$@"
done
echo "GOARCH=$(go env GOARCH) -tags noasm"
go test -tags noasm "$@"
