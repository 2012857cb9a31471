/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target on the given files, and on every file of the given directories, in the place
 * of libFuzzer: so the corpus is part of the ordinary tests. Each input is named before it runs, so
 * that the last line of a run that crashed says which it was. Fails where there is nothing to run.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Runs the target on one file, in a buffer of exactly its size, so that a sanitizer sees a read
 * beyond the end. False when the file cannot be read. */
static bool run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	uint8_t *data;
	bool ok;

	puts(path);
	fflush(stdout);
	if (!f)
		return false;
	if (fstat(fileno(f), &st) < 0 ||
		!(data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1))) {
		fclose(f);
		return false;
	}
	ok = fread(data, 1, (size_t)st.st_size, f) == (size_t)st.st_size;
	fclose(f);
	if (ok)
		LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	free(data);
	return ok;
}

static int is_seed(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* The number of files that were run, -1 when one or the directory itself cannot be read. */
static int run_directory(const char *directory)
{
	struct dirent **entries;
	int n = scandir(directory, &entries, is_seed, alphasort), runs = 0;

	if (n < 0) {
		perror(directory);
		return -1;
	}
	for (int i = 0; i < n; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		if (runs >= 0 && run_file(path)) {
			runs++;
		} else if (runs >= 0) {
			perror(path);
			runs = -1;
		}
		free(entries[i]);
	}
	free(entries);
	return runs;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;
		int runs = 1;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
			runs = run_directory(argv[i]);
		} else if (!run_file(argv[i])) {
			perror(argv[i]);
			runs = -1;
		}
		if (runs < 0)
			return 1;
		total += runs;
	}
	printf("%d inputs\n", total);
	return total > 0 ? 0 : 1;
}
