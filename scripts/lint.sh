#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Static analysis of C: `lint.sh FLAGS FILE…` runs cppcheck and clang-tidy on the files, as many at
# once as there are cores. FLAGS are the compiler's, in one word.
set -uo pipefail

if [ $# -lt 2 ]; then
	echo "usage: lint.sh FLAGS FILE…" >&2
	exit 2
fi
read -r -a flags <<<"$1"
shift
cores=$(nproc)
status=0

# Without what clang does not know of gcc's flags, and what only matters to code generation.
clang_flags=(-DVAN_VERSION='"0"')
for flag in "${flags[@]}"; do
	case $flag in
	-fcf-protection | -fstack-* | -D_FORTIFY_SOURCE=* | -O* | -g | -fPIE | -f*sanitize* | -Werror) ;;
	*) clang_flags+=("$flag") ;;
	esac
done

# What cppcheck cannot know: the cleanup attribute (memleak), functions that fill what they are given
# (uninitvar), and that NULL is a pointer here (varFuncNullUB).
echo "cppcheck: $# files"
cppcheck -q -j "$cores" --std=c11 --language=c --enable=warning,performance,portability \
	--inline-suppr --error-exitcode=1 --suppress=missingIncludeSystem --suppress=unknownMacro \
	--suppress=memleak --suppress=uninitvar --suppress=legacyUninitvar --suppress=varFuncNullUB -I. -D_GNU_SOURCE -D__linux__ -D__x86_64__ \
	-DVAN_VERSION='"0"' "$@" || status=1

echo "clang-tidy: $# files"
printf '%s\0' "$@" | xargs -0 -P "$cores" -I '{}' \
	"${CLANG_TIDY:-clang-tidy}" --quiet --warnings-as-errors='*' '{}' -- "${clang_flags[@]}" \
	2> >(grep -vE 'warnings? (and [0-9]+ errors? )?generated|^Suppressed|^Use -header-filter' >&2) || status=1
exit "$status"
