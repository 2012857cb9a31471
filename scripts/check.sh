#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs test suites one after the other, whatever becomes of each, and adds up their last lines:
# `check.sh "NAME=TARGET[;VARIABLE=VALUE…]"…`, where TARGET is a make target whose last line is
# "N passed, N failed[, N skipped]". Its own last line is the sum, in the same form; in front of it
# stands once more what failed: lines of the suites that begin with FAIL.
set -uo pipefail

make=${MAKE:-make}
listed_max=50
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failures=()
passed=0 failed=0 skipped=0

for suite in "$@"; do
	name=${suite%%=*}
	IFS=';' read -r -a words <<<"${suite#*=}"
	printf '\n== %s\n' "$name"
	started=$SECONDS
	"$make" --no-print-directory "${words[@]}" 2>&1 | tee "$log"
	status=${PIPESTATUS[0]}
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$log" | tail -n 1)
	read -r good bad skips < <(sed -E 's/^([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?$/\1 \2 0\4/' <<<"${line:-0 passed, 0 failed}")
	if [ -z "$line" ] || { [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; }; then
		echo "== $name: did not run to its end (exit status $status)"
		bad=$((bad + 1))
		failures+=("$name: did not run to its end (exit status $status)")
	fi
	while IFS= read -r failure; do
		failures+=("$name: $failure")
	done < <(sed -n "s/^FAIL *//p" "$log")
	printf '== %s: %d s\n' "$name" $((SECONDS - started))
	passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + 10#$skips))
done

if [ ${#failures[@]} -ne 0 ]; then
	printf '\n== failed\n'
	printf 'FAIL %s\n' "${failures[@]:0:listed_max}"
	[ ${#failures[@]} -le $listed_max ] || echo "… and $((${#failures[@]} - listed_max)) more"
fi
printf '\n%d passed, %d failed' "$passed" "$failed"
[ "$skipped" -eq 0 ] || printf ', %d skipped' "$skipped"
printf '\n'
[ "$failed" -eq 0 ]
