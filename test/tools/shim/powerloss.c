/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that forgets, for LD_PRELOAD: of a directory ($POWERLOSS_DIR) it keeps, in another one
 * ($POWERLOSS_IMAGE), what would be there after a power cut if nothing but what was synced survived:
 *
 *   IMAGE/FILE-ID    content of a file as of its last fsync() or fdatasync()
 *   IMAGE/names      lines "FILE-ID NAME": what was in the directory at its last fsync()
 *
 * FILE-ID is made of inode and time of birth, for inodes are used again. A file that was created,
 * renamed or removed without a sync of the directory afterwards is in `names` as it was before; one
 * that is named there and was never synced is empty. Kill the process, put the directory together
 * again from the image, and go on with an empty one: what is there when a process starts is what was
 * synced so far. Syncs of other directories are those of the system.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void die(const char *what)
{
	fprintf(stderr, "powerloss: %s\n", what);
	abort();
}

/* True for an id of a file or directory. */
static bool file_id(
	int dir_fd, const char *path, int flags, char *id, size_t size, mode_t *ret_mode)
{
	struct statx st;

	if (statx(dir_fd, path, flags | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME | STATX_MODE,
		    &st))
		return false;
	snprintf(id, size, "%llu-%lld-%u", (unsigned long long)st.stx_ino,
		(long long)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
	*ret_mode = st.stx_mode;
	return true;
}

/* 0: of another directory. 'd': the directory itself. 'f': a file in it. */
static int kind_of(int fd, const char *dir)
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return 0;
	path[n] = '\0';
	if (!strcmp(path, dir))
		return 'd';
	return !strncmp(path, dir, strlen(dir)) && path[strlen(dir)] == '/' ? 'f' : 0;
}

static void keep_file(int fd, const char *image)
{
	char id[128], path[PATH_MAX], block[65536];
	off_t at = 0;
	mode_t mode;
	ssize_t n;
	int out;

	if (!file_id(fd, "", AT_EMPTY_PATH, id, sizeof(id), &mode))
		die("statx");
	snprintf(path, sizeof(path), "%s/%s", image, id);
	out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (out < 0)
		die(path);
	/* The descriptor may be for writing only. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	while ((n = pread(fd, block, sizeof(block), at)) > 0) {
		if (pwrite(out, block, (size_t)n, at) != n)
			die("no room for the image");
		at += n;
	}
	if (n < 0 || ftruncate(out, at))
		die("copying");
	close(fd);
	close(out);
}

static void keep_names(const char *dir, const char *image)
{
	char path[PATH_MAX], temporary[PATH_MAX], id[128];
	DIR *d = opendir(dir);
	struct dirent *entry;
	mode_t mode;
	FILE *out;

	snprintf(path, sizeof(path), "%s/names", image);
	snprintf(temporary, sizeof(temporary), "%s/names.new", image);
	out = fopen(temporary, "we");
	if (!d || !out)
		die(temporary);
	while ((entry = readdir(d)))
		if (file_id(dirfd(d), entry->d_name, 0, id, sizeof(id), &mode) && S_ISREG(mode))
			fprintf(out, "%s %s\n", id, entry->d_name);
	closedir(d);
	if (fclose(out) || rename(temporary, path))
		die(path);
}

/* Everything that is there at the start, unless another process has begun the image. */
__attribute__((constructor)) static void begin(void)
{
	const char *dir = getenv("POWERLOSS_DIR"), *image = getenv("POWERLOSS_IMAGE");
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *d;

	if (!dir || !image)
		return;
	snprintf(path, sizeof(path), "%s/names", image);
	d = opendir(dir);
	if (access(path, F_OK) == 0 || !d) {
		if (d)
			closedir(d);
		return;
	}
	while ((entry = readdir(d))) {
		int fd = openat(dirfd(d), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		struct stat st;

		if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode))
			keep_file(fd, image);
		if (fd >= 0)
			close(fd);
	}
	closedir(d);
	keep_names(dir, image);
}

static int sync_fd(int fd, const char *name)
{
	const char *dir = getenv("POWERLOSS_DIR"), *image = getenv("POWERLOSS_IMAGE");
	int kind = dir && image ? kind_of(fd, dir) : 0;
	int (*next)(int);

	if (!kind) {
		next = (int (*)(int))dlsym(RTLD_NEXT, name);
		return next(fd);
	}
	pthread_mutex_lock(&lock);
	if (kind == 'f')
		keep_file(fd, image);
	else
		keep_names(dir, image);
	pthread_mutex_unlock(&lock);
	return 0;
}

int fsync(int fd)
{
	return sync_fd(fd, "fsync");
}

int fdatasync(int fd)
{
	return sync_fd(fd, "fdatasync");
}
