#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs cmocka programs and adds up their tests: `unit.sh PROGRAM…`. A program that crashes, hangs or
# runs no test counts as a failed test. The last line is "N passed, N failed[, N skipped]".
set -uo pipefail

limit_s=${UNIT_LIMIT_S:-300}
export CMOCKA_MESSAGE_OUTPUT=TAP
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
passed=0 failed=0 skipped=0

for program in "$@"; do
	output=$(timeout --kill-after=5 "$limit_s" "$program" 2>&1 </dev/null)
	status=$?
	skips=$(grep -cE '^(not )?ok [0-9]+.*# SKIP' <<<"$output")
	bad=$(grep -E '^not ok [0-9]+' <<<"$output" | grep -vc '# SKIP')
	good=$(grep -E '^ok [0-9]+' <<<"$output" | grep -vc '# SKIP')
	note=
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
		note=" (exit status $status)"
		if [ "$status" -eq 124 ]; then note=" (not done after $limit_s s)"; fi
	elif [ $((good + bad + skips)) -eq 0 ]; then
		bad=1
		note=' (ran no test)'
	fi
	printf '%-4s %s: %d passed' "$([ "$bad" -eq 0 ] && echo ok || echo FAIL)" "${program##*/}" "$good"
	names=$(grep -E '^not ok [0-9]+' <<<"$output" | grep -v '# SKIP' | sed -E 's/^not ok [0-9]+ - //' | tr '\n' ' ')
	[ "$bad" -eq 0 ] || printf ', %d failed%s' "$bad" "${note:-: ${names% }}"
	[ "$skips" -eq 0 ] || printf ', %d skipped' "$skips"
	printf '\n'
	if [ "$bad" -ne 0 ]; then
		tail -n 60 <<<"$output" | sed 's/^/    /'
	elif [ "$skips" -ne 0 ]; then
		# cmocka says "not ok" of what is skipped.
		grep -B 1 '# SKIP' <<<"$output" | grep -vE '^(ok|--|1\.\.)' |
			sed -E 's/^not ok [0-9]+ # SKIP /skipped: /; s/^/    /'
	fi
	passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skips))
done

if [ $((passed + failed + skipped)) -eq 0 ]; then
	echo "unit.sh: no test program was given or none has tests" >&2
	failed=1
fi
printf '%d passed, %d failed' "$passed" "$failed"
[ "$skipped" -eq 0 ] || printf ', %d skipped' "$skipped"
printf '\n'
[ "$failed" -eq 0 ]
