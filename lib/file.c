/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/file.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/cleanup.h"

#define FIRST_BUFFER_LEN 4096 /* most files, and all with secrets, need no second one */

int file_read_fd(int fd, size_t max, char **ret_data, size_t *ret_len, struct err *e)
{
	size_t room = FIRST_BUFFER_LEN, len = 0;
	CLEANUP(free) char *data = malloc(room);

	if (!data)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	for (;;) {
		ssize_t n = read(fd, data + len, room - 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int rc = -errno;

			return err_set(e, rc, "%s", err_name(rc));
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return err_set(e, -EFBIG, "larger than the %zu bytes allowed", max);
		if (len == room - 1) {
			char *bigger = realloc(data, room * 2);

			if (!bigger)
				return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
			data = bigger;
			room *= 2;
		}
	}
	data[len] = '\0';
	*ret_data = STEAL(data);
	*ret_len = len;
	return 0;
}

int file_read(const char *path, size_t max, char **ret_data, size_t *ret_len, struct err *e)
{
	CLEANUP(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0) {
		rc = -errno;
		return err_set(e, rc, "cannot open %s: %s", path, err_name(rc));
	}
	rc = file_read_fd(fd, max, ret_data, ret_len, e);
	if (rc)
		err_prefix(e, rc, "cannot read %s", path);
	return rc;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The directory that path is in, "." for a bare name. Heap; NULL without memory. */
static char *parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* A rename is on disk only after its directory is. */
static int sync_directory(const char *directory)
{
	CLEANUP(close) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0) {
		/* Some file systems cannot sync a directory, and need it not. */
		return errno == EINVAL || errno == ENOTSUP ? 0 : -errno;
	}
	return 0;
}

int file_new_start(const char *path, mode_t mode, struct file_new *ret_file, struct err *e)
{
	struct file_new f = {.fd = -1, .path = strdup(path), .directory = parent_of(path)};
	const char *slash = strrchr(path, '/');
	int rc = 0;

	if (!f.path || !f.directory ||
		asprintf(&f.temporary, "%s/.%s.XXXXXX", f.directory, slash ? slash + 1 : path) <
			0) {
		f.temporary = NULL;
		file_new_drop(&f);
		return err_set(e, -ENOMEM, "cannot write %s: %s", path, err_name(-ENOMEM));
	}
	f.fd = mkostemp(f.temporary, O_CLOEXEC);
	if (f.fd < 0 || fchmod(f.fd, mode) < 0) {
		rc = -errno;
		err_set(e, rc, "cannot write %s: no new file in %s: %s", path, f.directory,
			err_name(rc));
		file_new_drop(&f);
		return rc;
	}
	*ret_file = f;
	return 0;
}

int file_new_finish(struct file_new *f, struct err *e)
{
	int rc = 0;

	if (fsync(f->fd) < 0 || rename(f->temporary, f->path) < 0) {
		rc = -errno;
		return err_set(e, rc, "cannot write %s: %s", f->path, err_name(rc));
	}
	free(f->temporary);
	f->temporary = NULL;
	rc = sync_directory(f->directory);
	if (rc)
		err_set(e, rc, "cannot sync %s: %s", f->directory, err_name(rc));
	return rc;
}

void file_new_drop(struct file_new *f)
{
	if (f->fd >= 0)
		close(f->fd);
	if (f->fd >= 0 && f->temporary)
		unlink(f->temporary);
	free(f->path);
	free(f->directory);
	free(f->temporary);
	*f = (struct file_new){.fd = -1};
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	CLEANUP(file_new) struct file_new f = {.fd = -1};
	int rc = file_new_start(path, mode, &f, e);

	if (rc)
		return rc;
	rc = write_all(f.fd, data, len);
	if (rc)
		return err_set(e, rc, "cannot write %s: %s", path, err_name(rc));
	return file_new_finish(&f, e);
}

static int make_dir(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno != EEXIST && errno != EROFS && errno != EACCES)
		return -errno;
	/* There already? A read-only or closed parent says so only after it was looked for. */
	int rc = -errno;

	if (stat(path, &st) < 0)
		return rc == -EEXIST ? -errno : rc;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int file_make_dirs(const char *path, mode_t mode, struct err *e)
{
	CLEANUP(free) char *part = strdup(path);
	int rc;

	if (!part)
		return err_set(e, -ENOMEM, "cannot make directory %s: %s", path, err_name(-ENOMEM));
	for (char *p = part; *p; p++) {
		if (*p != '/' || p == part || p[1] == '/' || p[1] == '\0')
			continue;
		*p = '\0';
		rc = make_dir(part, 0755);
		if (rc)
			return err_set(e, rc, "cannot make directory %s: %s", part, err_name(rc));
		*p = '/';
	}
	rc = make_dir(path, mode);
	if (rc)
		err_set(e, rc, "cannot make directory %s: %s", path, err_name(rc));
	return rc;
}
