/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/ctlproto.h"

#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

#define PLAIN_JSON (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/* The first row with a word gives the code that it is read back as. */
static const struct {
	int code;
	const char *word;
} words[] = {
	{-VAN_E_SYNTAX, "syntax"},
	{-VAN_E_CONFIG, "config"},
	{-VAN_E_UNREACHABLE, "unreachable"},
	{-VAN_E_TLS, "tls"},
	{-VAN_E_DENIED, "denied"},
	{-VAN_E_NOT_FOUND, "not_found"},
	{-VAN_E_CONFLICT, "conflict"},
	{-VAN_E_GONE, "gone"},
	{-VAN_E_INVALID, "invalid"},
	{-VAN_E_LIMIT, "limit"},
	{-VAN_E_TIMEOUT, "timeout"},
	{-VAN_E_PROTOCOL, "protocol"},
	{-VAN_E_UNAUTHENTIC, "unauthentic"},
	{-VAN_E_CORRUPT, "corrupt"},
	{-EACCES, "denied"},
	{-EPERM, "denied"},
	{-ENOENT, "not_found"},
	{-EEXIST, "conflict"},
	{-EBUSY, "conflict"},
	{-EINVAL, "invalid"},
	{-ETIMEDOUT, "timeout"},
};

const char *ctlproto_error_word(int code)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i].code == code)
			return words[i].word;
	}
	return "error";
}

int ctlproto_error_code(const char *word)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i].word, word) == 0)
			return words[i].code;
	}
	return -EIO;
}

/* -- lines -- */

/* The object as one line; heap. Takes the reference. */
static char *to_line(struct json_object *o)
{
	size_t len;
	const char *text = json_object_to_json_string_length(o, PLAIN_JSON, &len);
	char *line = malloc(len + 2);

	if (!text || !line)
		abort();
	memcpy(line, text, len);
	memcpy(line + len, "\n", 2);
	json_object_put(o);
	return line;
}

char *ctlproto_result_line(struct json_object *result)
{
	struct json_object *o = json_object_new_object();

	if (!o || json_object_object_add(o, "result", json_object_get(result)) != 0)
		abort();
	return to_line(o);
}

char *ctlproto_error_line(int code, const char *detail)
{
	struct json_object *o = json_object_new_object();
	struct json_object *error = json_object_new_object();

	if (!o || !error || json_object_object_add(o, "error", error) != 0)
		abort();
	json_set_string(error, "code", ctlproto_error_word(code));
	json_set_string(error, "detail", detail);
	return to_line(o);
}

/* -- client -- */

static int connect_error(int rc, const char *path, struct err *e)
{
	switch (rc) {
	case -ENOENT:
	case -ECONNREFUSED:
	case -ENOTSOCK:
	case -EPROTOTYPE:
		return err_set(e, -VAN_E_UNREACHABLE,
			"vand does not listen on %s: start it (systemctl start vand, or vand -c FILE) "
			"or name its socket with --socket",
			path);
	case -EACCES:
	case -EPERM:
		return err_set(e, -VAN_E_DENIED,
			"no permission to talk to vand on %s: run this as root or as the user that "
			"vand runs as",
			path);
	case -EAGAIN: /* SO_SNDTIMEO: its queue of connections stayed full */
		return err_set(e, -VAN_E_TIMEOUT, "vand on %s does not accept connections", path);
	default:
		return err_set(e, rc, "cannot connect to vand on %s: %s", path, err_name(rc));
	}
}

static int connect_to(const char *path, unsigned int timeout_ms, int *ret_fd, struct err *e)
{
	struct timeval patience = {
		.tv_sec = timeout_ms / 1000, .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEANUP(close) int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(e, -ENAMETOOLONG, "the socket's path %s is longer than %zu bytes",
			path, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		int rc = -errno;

		return err_set(e, rc, "no socket: %s", err_name(rc));
	}
	if (timeout_ms == 0)
		patience.tv_usec = 1; /* zero would mean for ever */
	/* A unix socket's connect cannot be polled for; it does heed the send timeout. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return connect_error(-errno, path, e);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

/* Waits for the events until the deadline. 0, -VAN_E_TIMEOUT or -errno. */
static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		uint64_t now = clock_boottime_ns();
		uint64_t left_ms =
			now < deadline_ns ? (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;
		int n = poll(&p, 1, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0 && clock_boottime_ns() >= deadline_ns)
			return -VAN_E_TIMEOUT;
	}
}

static int send_line(int fd, const char *line, uint64_t deadline_ns)
{
	size_t len = strlen(line);

	while (len > 0) {
		ssize_t n = send(fd, line, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		int rc;

		if (n >= 0) {
			line += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		rc = wait_for(fd, POLLOUT, deadline_ns);
		if (rc)
			return rc;
	}
	return 0;
}

/* Reads up to a newline or the end; *ret_line is heap, NUL-terminated, without the newline. */
static int receive_line(int fd, uint64_t deadline_ns, char **ret_line, size_t *ret_len)
{
	size_t room = 4096, len = 0;
	CLEANUP(free) char *line = malloc(room);

	if (!line)
		return -ENOMEM;
	for (;;) {
		ssize_t n = recv(fd, line + len, room - 1 - len, MSG_DONTWAIT);
		char *newline;
		int rc;

		if (n < 0 && errno == EAGAIN) {
			rc = wait_for(fd, POLLIN, deadline_ns);
			if (rc)
				return rc;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		newline = memchr(line + len, '\n', (size_t)n);
		len += (size_t)n;
		if (newline)
			len = (size_t)(newline - line);
		if (newline || n == 0)
			break;
		if (len > CTLPROTO_MAX_ANSWER)
			return -VAN_E_PROTOCOL;
		if (len == room - 1) {
			char *bigger = realloc(line, room * 2);

			if (!bigger)
				return -ENOMEM;
			line = bigger;
			room *= 2;
		}
	}
	line[len] = '\0';
	*ret_line = STEAL(line);
	*ret_len = len;
	return 0;
}

/* Takes the result out of an answer, or the error. */
static int read_answer(const char *line, size_t len, struct json_object **ret_result, struct err *e)
{
	CLEANUP(json) struct json_object *answer = NULL;
	struct json_object *member;
	const char *word, *detail;
	int rc = json_parse(line, len, &answer, e);

	if (rc)
		return err_set(e, -VAN_E_PROTOCOL, "vand's answer cannot be read: %s",
			e ? e->text : err_name(rc));
	if (!json_object_is_type(answer, json_type_object))
		return err_set(e, -VAN_E_PROTOCOL, "vand's answer is not an object");
	if (json_object_object_get_ex(answer, "result", &member)) {
		*ret_result = json_object_get(member);
		return 0;
	}
	if (!json_object_object_get_ex(answer, "error", &member) ||
		json_get_string(member, "/error", "code", 1, 64, &word, NULL) ||
		json_get_string(member, "/error", "detail", 0, CTLPROTO_MAX_ANSWER, &detail, NULL))
		return err_set(e, -VAN_E_PROTOCOL, "vand's answer is neither result nor error");
	return err_set(e, ctlproto_error_code(word), "%s", detail);
}

static int talk_error(int rc, const char *path, unsigned int timeout_ms, struct err *e)
{
	switch (rc) {
	case -VAN_E_TIMEOUT:
		return err_set(e, rc, "vand did not answer within %u.%u s", timeout_ms / 1000,
			timeout_ms % 1000 / 100);
	case -VAN_E_PROTOCOL:
		return err_set(
			e, rc, "vand's answer is larger than %u MB", CTLPROTO_MAX_ANSWER >> 20);
	case -EPIPE:
	case -ECONNRESET:
		return err_set(e, -VAN_E_UNREACHABLE,
			"vand on %s closed the connection without an answer: look into its log",
			path);
	default:
		return err_set(e, rc, "cannot talk to vand on %s: %s", path, err_name(rc));
	}
}

int ctlproto_call(const char *socket_path, struct json_object *request, unsigned int timeout_ms,
	struct json_object **ret_result, struct err *e)
{
	uint64_t deadline_ns = clock_boottime_ns() + timeout_ms * NS_PER_MS;
	CLEANUP(free) char *answer = NULL;
	CLEANUP(free) char *line = NULL;
	CLEANUP(close) int fd = -1;
	struct err local;
	size_t len = 0;
	int rc;

	line = to_line(json_object_get(request));
	if (strlen(line) > CTLPROTO_MAX_REQUEST)
		return err_set(e, -VAN_E_LIMIT, "the request to vand is larger than %u KB",
			CTLPROTO_MAX_REQUEST >> 10);
	rc = connect_to(socket_path, timeout_ms, &fd, e);
	if (rc)
		return rc;
	rc = send_line(fd, line, deadline_ns);
	/* Where the other end closed early, its answer may still be there to read. */
	if (rc == 0 || rc == -EPIPE)
		rc = receive_line(fd, deadline_ns, &answer, &len);
	if (rc == 0 && len == 0)
		rc = -EPIPE;
	if (rc)
		return talk_error(rc, socket_path, timeout_ms, e);
	return read_answer(answer, len, ret_result, e ? e : &local);
}
