#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing, and says which: `deps.sh build` for what building
# and the demo need, `deps.sh test` for what the tests use, `deps.sh bench` for what `make bench` compares
# VAN with, `deps.sh list build|test|bench` only prints them.
set -euo pipefail

build_packages() {
	echo gcc libc6-dev make pkg-config
	echo libsodium-dev libconfig-dev libcurl4-openssl-dev libjson-c-dev
	echo libmicrohttpd-dev libsqlite3-dev libgnutls28-dev
	echo libmnl-dev liburcu-dev libssl-dev
	# Intel's AES-GCM, several times faster than the others; there is no Arm build of it in Debian 12
	if [ "$(dpkg --print-architecture)" = amd64 ]; then echo libipsec-mb-dev; fi
	echo iproute2 iputils-ping procps
}

test_packages() {
	echo libcmocka-dev python3 python3-jsonschema python3-pip python3-setuptools python3-wheel openssl curl
	echo nftables ethtool zsh
	echo etcd-server etcd-client
	echo clang libclang-rt-14-dev
	echo clang-format clang-tidy cppcheck shellcheck
}

# What is measured beside VAN, and with what. Each of them is optional: the benchmark names what it
# has to leave out.
bench_packages() {
	echo python3 openssl
	echo iperf3
	echo tinc nebula wireguard-go wireguard-tools openvpn fastd
	echo redis-server redis-tools
	echo postgresql postgresql-contrib
}

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# The tests start what they need themselves: no package may start a service of its own.
policy=/usr/sbin/policy-rc.d
policy_is_ours=
log=

clean_up() {
	if [ -n "$policy_is_ours" ]; then rm -f "$policy"; fi
	if [ -n "$log" ]; then rm -f "$log"; fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

hold_services() {
	if [ -e "$policy" ]; then return; fi
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	policy_is_ours=1
	chmod 755 "$policy"
}

apt() {
	if ! DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >>"$log" 2>&1 </dev/null; then
		echo "deps: apt-get $1 failed:" >&2
		tail -n 20 "$log" >&2
		exit 1
	fi
}

install_missing() {
	local wanted=("$@") missing=() package
	for package in "${wanted[@]}"; do
		installed "$package" || missing+=("$package")
	done
	if [ ${#missing[@]} -eq 0 ]; then
		return
	fi
	if [ "$(id -u)" -ne 0 ]; then
		echo "deps: missing: ${missing[*]}" >&2
		echo "deps: run this as root: apt-get install --no-install-recommends ${missing[*]}" >&2
		exit 1
	fi
	echo "deps: installing from Debian: ${missing[*]}"
	log=$(mktemp)
	hold_services
	apt update
	apt install -y --no-install-recommends "${missing[@]}"
	echo "deps: installed ${#missing[@]} packages and what they need"
}

# Installs what can be had, one by one, and names the rest; that is no failure.
install_optional() {
	local package missing=()
	for package in "$@"; do
		installed "$package" || missing+=("$package")
	done
	if [ ${#missing[@]} -eq 0 ]; then
		return
	fi
	if [ "$(id -u)" -ne 0 ]; then
		echo "deps: not installed, what needs them is left out: ${missing[*]}" >&2
		return
	fi
	echo "deps: installing from Debian: ${missing[*]}"
	log=$(mktemp)
	hold_services
	(apt update) || true
	for package in "${missing[@]}"; do
		# in a subshell: apt() ends the program where it fails
		(apt install -y --no-install-recommends "$package") ||
			echo "deps: $package cannot be installed, what needs it is left out" >&2
	done
}

case "${1-}:${2-}" in
build: | test: | bench:)
	if ! command -v dpkg-query >/dev/null; then
		echo "deps: this is not Debian; what is needed is named in scripts/deps.sh" >&2
		exit 0
	fi
	mapfile -t packages < <("$1_packages" | tr ' ' '\n')
	if [ "$1" = bench ]; then
		install_optional "${packages[@]}"
	else
		install_missing "${packages[@]}"
	fi
	;;
list:build | list:test | list:bench)
	"$2_packages" | tr ' ' '\n'
	;;
*)
	echo "usage: deps.sh [list] build | test | bench" >&2
	exit 2
	;;
esac
