#!/bin/sh
# Hooks for RAUC: the image of the release is a RAUC bundle.
#
#     verify-cmd = "/etc/normrecv.d/rauc.sh verify"        activate-cmd = "/etc/normrecv.d/rauc.sh activate"
#     health-cmd = "/etc/normrecv.d/rauc.sh health"        rollback-cmd = "/etc/normrecv.d/rauc.sh rollback"
set -u
. "${0%/*}/once.sh"

# booted prints the slot that runs, as RAUC knows it.
booted() { rauc status --output-format=shell | sed -n "s/^RAUC_SYSTEM_BOOTED_BOOTNAME='\{0,1\}\([^']*\)'\{0,1\}$/\1/p"; }

case ${1-} in
verify)
	rauc info "$UPGRADE_IMAGE" >/dev/null || die "RAUC does not take the bundle"
	;;
activate)
	if ! installed; then
		mkdir -p "$STATE" && booted >"$STATE/before" || die "the running slot is not known"
		rauc install "$UPGRADE_IMAGE" || die "rauc install failed"
		note_installed
	fi
	restart
	;;
health)
	installed || die "the bundle was not installed"
	test "$(booted)" != "$(cat "$STATE/before")" || die "the old slot runs: the boot loader has fallen back"
	rauc status mark-good || die "the slot cannot be marked good"
	;;
rollback)
	if installed && test "$(booted)" != "$(cat "$STATE/before")"; then
		rauc status mark-bad booted || die "the slot cannot be marked bad"
		rauc status mark-active other || die "the old slot cannot be marked active"
		rm -f "$STATE/installed"
		restart
	fi
	;;
*) die "usage: rauc.sh verify|activate|health|rollback" ;;
esac
