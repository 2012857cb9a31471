#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Replays fuzz corpora: `corpus.sh FOLDER TARGET…` runs FOLDER/TARGET on every file under
# test/fuzz/corpus/TARGET. Each file is one test. The last line is "N passed, N failed".
set -uo pipefail

folder=$1
shift
passed=0 failed=0
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

for target in "$@"; do
	mapfile -d '' -t inputs < <(find "test/fuzz/corpus/$target" -type f -print0 2>/dev/null | sort -z)
	if [ ${#inputs[@]} -eq 0 ]; then
		echo "FAIL $target: no corpus in test/fuzz/corpus/$target"
		failed=$((failed + 1))
		continue
	fi
	if output=$(timeout --kill-after=5 120 "$folder/$target" "${inputs[@]}" 2>&1); then
		echo "ok   $target: ${#inputs[@]} inputs"
		passed=$((passed + ${#inputs[@]}))
	else
		echo "FAIL $target: the last input named here"
		tail -n 40 <<<"$output" | sed 's/^/    /'
		failed=$((failed + 1))
	fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
