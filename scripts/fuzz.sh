#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes: `fuzz.sh FOLDER TARGET…` runs each for FUZZ_SECONDS, starting from its corpus. New inputs
# go to build/fuzz/corpus/TARGET, finds to build/fuzz/finds.
set -uo pipefail

folder=$1
shift
finds=build/fuzz/finds
mkdir -p "$finds"
failed=0

for target in "$@"; do
	grown=build/fuzz/corpus/$target
	mkdir -p "$grown"
	echo "== $target, ${FUZZ_SECONDS:-60} s"
	if ! "$folder/$target" -max_total_time="${FUZZ_SECONDS:-60}" -print_final_stats=1 \
		-timeout=10 -rss_limit_mb=2048 -artifact_prefix="$finds/$target-" \
		"$grown" "test/fuzz/corpus/$target" >"$grown.log" 2>&1; then
		failed=1
		grep -E -A 30 'ERROR|runtime error' "$grown.log" | head -n 60
		tail -n 5 "$grown.log"
	else
		grep -E 'stat::|Done' "$grown.log"
	fi
done
if [ "$failed" -ne 0 ]; then echo "finds are in $finds" >&2; fi
exit "$failed"
