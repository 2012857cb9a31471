#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# VAN on one machine: a console and three nodes in network namespaces, joined by tokens, and shown at
# work. `demo.sh up` runs it and cleans up (KEEP=1: does not, and says how to get in); `demo.sh down`
# removes what KEEP=1 left.
#
#   console 192.0.2.100 ──┐
#   alpha 192.0.2.1 ────[ net ]──── gamma 192.0.2.3      the underlay; the overlay is 172.16.1.0/24
#                         │                              and fd00:cafe::/64 on vcider0
#                   beta 192.0.2.2
set -uo pipefail

cd "$(dirname "$0")/.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
SECONDS_OF_TCP=${DEMO_SECONDS:-10}
nodes=(alpha beta gamma)
spaces=(net console "${nodes[@]}")
prefix=van-demo
dir=/run/van-demo
URL=https://192.0.2.100:8443
vanctl=$BUILD/vanctl/vanctl
netprobe=$BUILD/test/tools/netprobe
export XDG_CONFIG_HOME=$dir/config
unset VAND_SOCKET VAN_CONSOLE VAN_KEY_FILE VAN_PIN VAN_CONTEXT

# -- helpers --

if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
	bold=$'\e[1m' plain=$'\e[0m'
else
	bold='' plain=''
fi

title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }

die() {
	printf '\ndemo: %s\n' "$*" >&2
	exit 1
}

# Polls a condition: until SECONDS COMMAND…
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS > end)); then return 1; fi
		sleep 0.05
	done
}

# A command in a node's namespace; its vanctl talks to its own vand.
on() {
	local node=$1
	shift
	VAND_SOCKET=$dir/$node/vand.sock ip netns exec "$prefix-$node" "$@"
}

# The value of a JSON member, the first one of that name: text or number. Enough for our own output.
member() { sed -n 's/.*"'"$1"'": *"\{0,1\}\([^",}]*\).*/\1/p' | head -n 1; }

overlay4() { on "$1" ip -o -4 addr show dev vcider0 | sed -n 's/.* inet \([0-9.]*\).*/\1/p'; }
overlay6() { on "$1" ip -o -6 addr show dev vcider0 scope global | sed -n 's/.* inet6 \([0-9a-f:]*\).*/\1/p'; }
overlay_mac() { on "$1" cat /sys/class/net/vcider0/address; }
underlay4() { on "$1" ip -o -4 addr show dev eth0 | sed -n 's/.* inet \([0-9.]*\).*/\1/p'; }
running() { kill -0 "$1" 2>/dev/null; }

# -- up and down --

down() {
	local name pid pids=()
	for name in "${spaces[@]}"; do
		[ -e "/run/netns/$prefix-$name" ] || continue
		mapfile -t -O ${#pids[@]} pids < <(ip netns pids "$prefix-$name")
	done
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
	for pid in "${pids[@]}"; do
		until_true 5 ended "$pid" || kill -KILL "$pid" 2>/dev/null
	done
	for name in "${spaces[@]}"; do
		[ ! -e "/run/netns/$prefix-$name" ] || ip netns delete "$prefix-$name"
	done
	rm -rf "$dir"
}

ended() { ! running "$1"; }

on_exit() {
	local status=$?
	trap - EXIT INT TERM
	if [ "$status" -eq 1 ]; then
		for log in "$dir"/*/log; do
			[ -e "$log" ] || continue
			printf -- '-- end of the log of %s\n' "$(basename "$(dirname "$log")")" >&2
			tail -n 15 "$log" >&2
		done
	fi
	if [ -n "${KEEP-}" ] && [ "$status" -eq 0 ]; then
		how_to_get_in
	else
		down
		[ "$status" -ne 0 ] || say "removed again; make demo KEEP=1 leaves it running"
	fi
	exit "$status"
}

# What a command that was cut off says on its way out is of no use to anybody.
interrupted() {
	exec 2>/dev/null
	exit "$1"
}

how_to_get_in() {
	title "It keeps running. To get in:"
	say "ip netns exec $prefix-alpha bash                  a shell on alpha (beta, gamma)"
	say "VAND_SOCKET=$dir/alpha/vand.sock ip netns exec $prefix-alpha $BUILD/vanctl/vanctl peers"
	say "XDG_CONFIG_HOME=$XDG_CONFIG_HOME ip netns exec $prefix-console $BUILD/vanctl/vanctl node list"
	say "logs and state are in $dir"
	say "To remove it: make demo-down"
}

plug_in() { # NAMESPACE NUMBER
	local ns=$prefix-$1 port=to-$1
	ip -n "$ns" link add eth0 type veth peer name "$port" netns "$prefix-net" &&
		ip -n "$prefix-net" link set "$port" master br0 up &&
		ip -n "$ns" link set lo up &&
		ip -n "$ns" link set eth0 up &&
		ip -n "$ns" addr add "192.0.2.$2/24" dev eth0
}

make_underlay() {
	local name number=0
	for name in "${spaces[@]}"; do
		ip netns add "$prefix-$name" || die "cannot make network namespaces"
		# addresses are usable at once, without duplicate address detection
		ip netns exec "$prefix-$name" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
			echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad'
	done
	ip -n "$prefix-net" link add br0 type bridge mcast_snooping 0 || die "cannot make a bridge"
	ip -n "$prefix-net" link set br0 up || die "cannot make a bridge"
	for name in "${nodes[@]}"; do
		number=$((number + 1))
		plug_in "$name" "$number" || die "cannot plug in $name"
	done
	plug_in console 100 || die "cannot plug in the console"
}

# A daemon; in a session of its own, so that with KEEP=1 it outlives this terminal.
in_background() { # NAMESPACE COMMAND…
	local name=$1
	shift
	setsid ip netns exec "$prefix-$name" "$@" >"$dir/$name/log" 2>&1 </dev/null &
}

start_console() {
	mkdir -p "$dir/console"
	cat >"$dir/console/console.conf" <<-CONF
		state_dir = "$dir/console/state";
		listen = "0.0.0.0:8443";
		public_url = "$URL";
	CONF
	in_background console "$BUILD/console-api/console-api" -c "$dir/console/console.conf"
	until_true 10 test -s "$dir/console/state/tls.pin" || die "the console does not start"
	until_true 10 console login --console "$URL" --key-file "$dir/console/state/admin.key" \
		--pin "$(cat "$dir/console/state/tls.pin")" || die "the console does not answer"
}

console() { ip netns exec "$prefix-console" "$vanctl" "$@"; }

start_node() {
	mkdir -p "$dir/$1"
	cat >"$dir/$1/vand.conf" <<-CONF
		state_dir = "$dir/$1/state";
		control_socket = "$dir/$1/vand.sock";
	CONF
	in_background "$1" "$BUILD/vand/vand" -c "$dir/$1/vand.conf"
	until_true 10 on "$1" "$vanctl" status || die "vand on $1 does not start"
}

join_all() {
	local node
	console -q network create demo --cidr 172.16.1.0/24 --cidr6 fd00:cafe::/64 -o json >/dev/null ||
		die "the network cannot be made"
	console -q token issue demo --uses 3 --ttl 10m >"$dir/token" || die "no token"
	say "\$ vanctl network create demo --cidr 172.16.1.0/24 --cidr6 fd00:cafe::/64"
	say "\$ vanctl token issue demo --uses 3 --ttl 10m > token"
	for node in "${nodes[@]}"; do
		on "$node" "$vanctl" -q join --token-file "$dir/token" --name "$node" >/dev/null ||
			die "$node cannot join"
		say "$node\$ vanctl join --token-file token      → $(overlay4 "$node"), $(overlay6 "$node")"
	done
	rm -f "$dir/token"
	for node in "${nodes[@]}"; do
		until_true 10 knows_two "$node" || die "$node does not know its peers"
	done
}

knows_two() { [ "$(on "$1" "$vanctl" peers -o json | grep -o '"endpoint"' | wc -l)" -eq 2 ]; }

# -- what is shown --

show_pings() {
	local from to address reply
	for from in "${nodes[@]}"; do
		for to in "${nodes[@]}"; do
			[ "$from" != "$to" ] || continue
			for address in "$(overlay4 "$to")" "$(overlay6 "$to")"; do
				reply=$(on "$from" ping -n -c 3 -i 0.05 -W 3 "$address") ||
					die "$from cannot ping $to at $address: $reply"
				printf '  %-5s → %-5s %-12s %s\n' "$from" "$to" "$address" \
					"$(sed -n 's/^rtt min.* = [^/]*\/\([^/]*\)\/.*/\1 ms/p' <<<"$reply")"
			done
		done
	done
}

# Starts a netprobe on a node and waits until it listens; its output goes to FILE, its pid to $probe.
probe=
start_probe() { # NODE FILE ARGUMENTS…
	local node=$1 file=$2
	shift 2
	on "$node" "$netprobe" "$@" >"$file" 2>"$file.err" &
	probe=$!
	until_true 10 grep -q ready "$file.err" || die "netprobe $1 on $node does not start: $(cat "$file.err")"
}

show_broadcast() {
	local node pids=()
	for node in beta gamma; do
		start_probe "$node" "$dir/frames-$node" frame-recv vcider0 --ethertype 0x88b5 --count 3 \
			--check-pattern 1 --timeout 10
		pids+=("$probe")
	done
	on alpha "$netprobe" frame-send vcider0 --ethertype 0x88b5 --count 3 --len 300 --pattern 1 >"$dir/sent" ||
		die "no frame can be sent"
	for probe in "${pids[@]}"; do wait "$probe" || die "a broadcast got lost: $(cat "$dir"/frames-*)"; done
	for node in beta gamma; do
		cmp -s <(tail -n 1 "$dir/sent") <(tail -n 1 "$dir/frames-$node") || die "what $node got differs"
		say "alpha → everyone: 3 broadcast frames at $node, $(tail -n 1 "$dir/frames-$node") as sent"
	done
}

show_frame() {
	local mac length vlan
	mac=$(overlay_mac beta)
	for length in 64 1374; do
		for vlan in '' 42; do
			start_probe beta "$dir/frame" frame-recv vcider0 --ethertype 0x88b5 ${vlan:+--vlan "$vlan"} \
				--check-pattern 7 --timeout 10
			on alpha "$netprobe" frame-send vcider0 --dst "$mac" --ethertype 0x88b5 ${vlan:+--vlan "$vlan"} \
				--len "$length" --pattern 7 >"$dir/sent" || die "the frame cannot be sent"
			wait "$probe" || die "the frame got lost: $(cat "$dir/frame")"
			cmp -s <(tail -n 1 "$dir/sent") <(tail -n 1 "$dir/frame") || die "the frame was changed"
			say "alpha → beta: EtherType 0x88b5, $length bytes${vlan:+, VLAN $vlan}, unmodified"
		done
	done
}

# A TCP stream from alpha; its rate in Gbit/s.
tcp() { # SINK-NODE ADDRESS OPTION… (of both ends, or --bytes and --seconds of the source)
	local node=$1 address=$2 plain=()
	shift 2
	[[ " $* " == *" --plain "* ]] && plain=(--plain)
	start_probe "$node" "$dir/sink" tcp-sink "$address" 5001 --timeout 60 "${plain[@]}"
	on alpha "$netprobe" tcp-source "$address" 5001 "$@" >"$dir/source" 2>"$dir/source.err" ||
		die "TCP to $address: $(cat "$dir/source.err")"
	wait "$probe" || die "TCP to $address: $(cat "$dir/sink.err")"
	[ "$(member checksum <"$dir/sink")" = "$(member checksum <"$dir/source")" ] ||
		die "TCP to $address: what arrived is not what was sent"
	member gbit_per_s <"$dir/source"
}

show_tcp() {
	local bare tunnel
	tcp beta "$(overlay4 beta)" --bytes 200000000 >/dev/null || exit 1
	say "alpha → beta: 200 MB through VAN, checksum $(member checksum <"$dir/sink") at both ends"
	bare=$(tcp beta "$(underlay4 beta)" --plain --seconds "$SECONDS_OF_TCP") || exit 1
	say "alpha → beta, the bare underlay (veth and bridge): $bare Gbit/s"
	tunnel=$(tcp beta "$(overlay4 beta)" --plain --seconds "$SECONDS_OF_TCP") || exit 1
	say "alpha → beta, through VAN, encrypted:              $tunnel Gbit/s"
	say "that is $(awk -v a="$tunnel" -v b="$bare" 'BEGIN { printf "%.2f", (b > 0 ? a / b : 0) }') of the bare underlay, for" \
		"$SECONDS_OF_TCP s each, all on this machine's $(nproc) CPUs"
}

# How often a text that is sent from alpha to an address of beta is seen on alpha's cable, and in how
# many bytes of capture.
times_seen() { # TEXT ADDRESS CAPTURE-OPTIONS…
	local text=$1 address=$2 hex
	shift 2
	hex=$(printf '%s' "$text" | od -An -v -tx1 | tr -d ' \n')
	rm -f "$dir/stop"
	start_probe alpha "$dir/wire" capture eth0 --find "$text" --until-file "$dir/stop" "$@"
	local capture=$probe
	start_probe beta "$dir/inside" capture "$([[ $address == 192.* ]] && echo eth0 || echo vcider0)" \
		--find "$text" --until-file "$dir/stop"
	on alpha "$netprobe" udp-send "$address" 7777 --hex "$hex" --count 20 --wait-reply 100 >/dev/null ||
		die "the text cannot be sent"
	touch "$dir/stop"
	wait "$capture" || die "the capture on the underlay failed"
	wait "$probe" || die "the capture inside failed"
	[ "$(member count <"$dir/inside")" -ge 20 ] || die "the text did not arrive: $(cat "$dir/inside")"
	printf '%s %s\n' "$(member count <"$dir/wire")" "$(member bytes <"$dir/wire")"
}

show_capture() {
	local text="the quick brown fox $RANDOM" seen bytes
	read -r seen bytes < <(times_seen "$text" "$(overlay4 beta)") || exit 1
	[ "${seen:-x}" = 0 ] || die "the plain text was found on the underlay ${seen:-?} times"
	say "\"$text\", sent 20 times through VAN:"
	say "found $seen times in all $bytes bytes on the underlay"
	# without the ICMP answers that quote it
	read -r seen bytes < <(times_seen "$text" "$(underlay4 beta)" --udp-port 7777) || exit 1
	[ "${seen:-0}" = 20 ] || die "the capture does not find what is there: ${seen:-?} of 20"
	say "the same on the bare underlay, to show that the search works: found $seen times in $bytes bytes"
}

up() {
	local name
	[ "$(id -u)" -eq 0 ] || die "network namespaces need root: run make demo as root"
	[ -c /dev/net/tun ] || die "there is no /dev/net/tun: modprobe tun, or allow the container to use it"
	for name in "${spaces[@]}"; do
		[ ! -e "/run/netns/$prefix-$name" ] || die "a demo is still there: make demo-down removes it"
	done
	trap on_exit EXIT
	trap 'interrupted 130' INT
	trap 'interrupted 143' TERM
	rm -rf "$dir"
	mkdir -p "$dir"
	chmod 700 "$dir"

	title "1. A console and three nodes, each in a network namespace of its own"
	make_underlay
	start_console
	for name in "${nodes[@]}"; do start_node "$name"; done
	say "console-api at $URL; vand on ${nodes[*]}"

	title "2. They join a network, with a token"
	join_all

	title "3. Everyone pings everyone"
	show_pings

	title "4. A broadcast reaches all"
	show_broadcast

	title "5. A frame of a protocol that is not IP arrives unmodified"
	show_frame

	title "6. A TCP transfer"
	show_tcp

	title "7. Who listens on the underlay does not find the plain text"
	show_capture

	title "8. vanctl status, on alpha"
	on alpha "$vanctl" status | sed 's/^/  /' || die "vanctl status failed"
	printf '\n'
	on alpha "$vanctl" peers | sed 's/^/  /' || die "vanctl peers failed"
	title "Done in $SECONDS s."
}

case "${1-}" in
up) up ;;
down)
	down
	echo "demo: removed"
	;;
*)
	echo "usage: demo.sh up | down" >&2
	exit 2
	;;
esac
