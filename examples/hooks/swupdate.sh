#!/bin/sh
# Hooks for SWUpdate with two copies of the system: the image of the release is a .swu file. The boot loader counts starts,
# falls back by itself, and tells by ustate: 1 is installed, 2 on trial, 3 failed, 0 good.
#
#     verify-cmd = "/etc/normrecv.d/swupdate.sh verify"        activate-cmd = "/etc/normrecv.d/swupdate.sh activate"
#     health-cmd = "/etc/normrecv.d/swupdate.sh health"        rollback-cmd = "/etc/normrecv.d/swupdate.sh rollback"
set -u
. "${0%/*}/once.sh"

ustate() { fw_printenv -n ustate; }

case ${1-} in
verify)
	swupdate --check --image "$UPGRADE_IMAGE" || die "SWUpdate does not take the file"
	;;
activate)
	if ! installed; then
		swupdate --image "$UPGRADE_IMAGE" || die "swupdate failed"
		note_installed
	fi
	restart
	;;
health)
	installed || die "the file was not installed"
	case $(ustate) in
	0) ;; # marked good by the try before this one
	1 | 2) fw_setenv ustate 0 || die "the system cannot be marked good" ;;
	*) die "ustate is $(ustate): the boot loader has fallen back" ;;
	esac
	;;
rollback)
	installed || exit 0
	case $(ustate) in
	1 | 2)
		fw_setenv ustate 3 || die "the boot loader cannot be told to fall back"
		rm -f "$STATE/installed"
		restart
		;;
	esac
	;;
*) die "usage: swupdate.sh verify|activate|health|rollback" ;;
esac
