// SPDX-License-Identifier: Apache-2.0
#include "vanctl/secretfile.h"

#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"

void secretfile_free(char *text)
{
	if (!text)
		return;
	sodium_memzero(text, strlen(text));
	free(text);
}

static void check_mode(struct vanctl *v, const char *path, const struct stat *st)
{
	if (S_ISREG(st->st_mode) && (st->st_mode & 077))
		vanctl_warn(v, "others may read %s (mode %04o); make it private: chmod 600 %s",
			path, st->st_mode & 07777, path);
}

void secretfile_check_mode(struct vanctl *v, const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0)
		check_mode(v, path, &st);
}

/* The line within data, in place: white space around it cut off, everything else wiped. */
static int take_line(
	char *data, size_t len, const char *path, const char *what, char **ret_text, struct err *e)
{
	size_t start = 0, end = len;
	char *text;

	while (start < end && strchr(" \t\r\n", data[start]))
		start++;
	while (end > start && strchr(" \t\r\n", data[end - 1]))
		end--;
	if (start == end)
		return err_set(e, -VAN_E_INVALID, "%s is empty: no %s in it", path, what);
	for (size_t i = start; i < end; i++) {
		if (data[i] <= ' ' || data[i] > '~')
			return err_set(e, -VAN_E_INVALID,
				"%s holds something else than one %s on one line", path, what);
	}
	text = strndup(data + start, end - start);
	if (!text)
		return err_set(e, -ENOMEM, "out of memory");
	*ret_text = text;
	return 0;
}

/* Asks on a terminal, which shows nothing meanwhile; one line. */
static int ask(struct vanctl *v, const char *what, char **ret_data, size_t *ret_len, struct err *e)
{
	int fd = fileno(v->in);
	struct termios shown, hidden;
	char *data = calloc(1, SECRETFILE_MAX + 1);
	size_t len = 0;
	ssize_t n = 1;

	if (!data || tcgetattr(fd, &shown) < 0) {
		free(data);
		return err_set(e, -EIO, "%s", strerror(errno));
	}
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(fd, TCSAFLUSH, &hidden);
	fprintf(v->err, "Paste the %s (it is not shown) and press Enter: ", what);
	fflush(v->err);
	while (len < SECRETFILE_MAX && !memchr(data, '\n', len)) {
		n = read(fd, data + len, SECRETFILE_MAX - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	tcsetattr(fd, TCSAFLUSH, &shown);
	fputc('\n', v->err);
	if (n < 0) {
		sodium_memzero(data, len);
		free(data);
		return err_set(e, -EIO, "%s", strerror(errno));
	}
	*ret_data = data;
	*ret_len = len;
	return 0;
}

int secretfile_read(
	struct vanctl *v, const char *path, const char *what, char **ret_text, struct err *e)
{
	bool from_stdin = strcmp(path, "-") == 0;
	const char *shown = from_stdin ? "standard input" : path;
	CLEANUP(close) int fd = -1;
	struct stat st;
	char *data = NULL;
	size_t len = 0;
	int rc;

	if (!from_stdin) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_set(e, -errno, "cannot read the %s from %s: %s", what, path,
				strerror(errno));
		if (fstat(fd, &st) == 0)
			check_mode(v, path, &st);
	}
	rc = from_stdin && isatty(fileno(v->in)) ? ask(v, what, &data, &len, e)
						 : file_read_fd(from_stdin ? fileno(v->in) : fd,
							   SECRETFILE_MAX, &data, &len, e);
	if (rc < 0)
		return err_prefix(e, rc, "cannot read the %s from %s", what, shown);
	rc = take_line(data, len, shown, what, ret_text, e);
	sodium_memzero(data, len);
	free(data);
	return rc;
}
