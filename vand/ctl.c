/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket. A client connects, says one line, gets one line, and is done:
 *
 *   reading   until the newline, at most REQUEST_NS and CTLPROTO_MAX_REQUEST bytes
 *   working   the command has it; it may answer at once, or later. Only a hang-up is watched for.
 *   writing   what the socket did not take at once; at most WRITE_NS without progress
 *
 * ctl_answer() and ctl_error() end a client, so a command's last act is to call one of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <sodium.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/ctlproto.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "vand/ctl_internal.h"
#include "vand/reconcile.h"

#define CLIENTS_MAX    64
#define REQUEST_NS     (5 * NS_PER_S)
#define WRITE_NS       (10 * NS_PER_S)
#define TIMEOUT_MAX_MS (10 * 60 * 1000)

struct ctl_client {
	struct list node;
	struct ctl *ctl;
	struct loop_source source;
	struct loop_timer timer;
	char *in;
	size_t in_len, in_room;
	char *out; /* once answered */
	size_t out_len, out_done;
	void (*forget)(void *op);
	void *op;
};

static const struct {
	const char *name;
	ctl_handler *handler;
} commands[] = {
	{"join", ctl_join},
	{"leave", ctl_leave},
	{"status", ctl_status},
	{"peers", ctl_peers},
	{"mac", ctl_mac},
	{"stats", ctl_stats},
	{"ping", ctl_ping},
	{"reload", ctl_reload},
};

struct ctl *ctl_of(struct ctl_client *c)
{
	return c->ctl;
}

void ctl_later(struct ctl_client *c, void (*forget)(void *op), void *op)
{
	c->forget = forget;
	c->op = op;
}

/* Requests hold join tokens. */
static void drop_request(struct ctl_client *c)
{
	if (c->in)
		sodium_memzero(c->in, c->in_room);
	free(c->in);
	c->in = NULL;
	c->in_len = c->in_room = 0;
}

static void client_free(struct ctl_client *c)
{
	struct loop *loop = &c->ctl->v->loop;

	if (c->forget)
		c->forget(c->op);
	loop_timer_cancel(loop, &c->timer);
	loop_remove(loop, &c->source);
	close(c->source.fd);
	list_del(&c->node);
	c->ctl->client_count--;
	drop_request(c);
	free(c->out);
	free(c);
}

/* -- writing -- */

static void write_some(struct ctl_client *c)
{
	struct loop *loop = &c->ctl->v->loop;

	while (c->out_done < c->out_len) {
		ssize_t n = send(c->source.fd, c->out + c->out_done, c->out_len - c->out_done,
			MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (loop_change(loop, &c->source, EPOLLOUT) < 0)
				break;
			loop_timer_set(loop, &c->timer, loop->now_ns + WRITE_NS);
			return;
		}
		if (n < 0)
			break;
		c->out_done += (size_t)n;
	}
	client_free(c);
}

static void answer_line(struct ctl_client *c, char *line)
{
	c->forget = NULL;
	drop_request(c);
	c->out = line;
	c->out_len = strlen(line);
	write_some(c);
}

void ctl_answer(struct ctl_client *c, struct json_object *result)
{
	answer_line(c, ctlproto_result_line(result));
}

void ctl_error(struct ctl_client *c, int code, const struct err *e)
{
	answer_line(c, ctlproto_error_line(code, e && e->text[0] ? e->text : err_name(code)));
}

/* -- reading -- */

static void dispatch(struct ctl_client *c, size_t line_len)
{
	CLEANUP(json) struct json_object *args = NULL;
	const char *command;
	struct err e = {0};
	int rc = json_parse(c->in, line_len, &args, &e);

	loop_timer_cancel(&c->ctl->v->loop, &c->timer);
	(void)loop_change(&c->ctl->v->loop, &c->source, 0); /* hang-ups are told all the same */
	drop_request(c);
	if (rc == 0)
		rc = json_get_string(args, "", "command", 1, 64, &command, &e);
	if (rc < 0) {
		ctl_error(c, -VAN_E_INVALID, &e);
		return;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, command) == 0) {
			commands[i].handler(c, args);
			return;
		}
	}
	err_set(&e, -VAN_E_INVALID, "vand does not know the command '%s': is it older than vanctl?",
		command);
	ctl_error(c, e.code, &e);
}

static bool grow(struct ctl_client *c)
{
	size_t room = c->in_room ? c->in_room * 2 : 1024;
	char *bigger = malloc(room);

	if (!bigger)
		return false;
	/* Not realloc(): what it leaves behind is not wiped. */
	if (c->in_len > 0)
		memcpy(bigger, c->in, c->in_len);
	if (c->in)
		sodium_memzero(c->in, c->in_room);
	free(c->in);
	c->in = bigger;
	c->in_room = room;
	return true;
}

static void read_some(struct ctl_client *c)
{
	for (;;) {
		char *newline;
		ssize_t n;

		if (c->in_len == c->in_room) {
			if (c->in_room >= CTLPROTO_MAX_REQUEST) {
				struct err e;

				err_set(&e, -VAN_E_LIMIT, "request larger than %u KB",
					CTLPROTO_MAX_REQUEST >> 10);
				ctl_error(c, e.code, &e);
				return;
			}
			if (!grow(c)) {
				client_free(c);
				return;
			}
		}
		n = recv(c->source.fd, c->in + c->in_len, c->in_room - c->in_len, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			client_free(c);
			return;
		}
		newline = memchr(c->in + c->in_len, '\n', (size_t)n);
		c->in_len += (size_t)n;
		if (newline) {
			dispatch(c, (size_t)(newline - c->in));
			return;
		}
	}
}

static void on_client(struct loop_source *source, uint32_t events)
{
	struct ctl_client *c = container_of(source, struct ctl_client, source);

	if (c->out)
		write_some(c);
	else if (c->in && events & EPOLLIN)
		read_some(c);
	else if (events & (EPOLLHUP | EPOLLERR))
		client_free(c);
}

static void on_timeout(struct loop_timer *timer, uint64_t now_ns)
{
	(void)now_ns;
	client_free(container_of(timer, struct ctl_client, timer));
}

/* -- accepting -- */

static bool may_talk(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

/* Says why, as far as the socket takes it, and closes. */
static void turn_away(int fd, int code, const char *why)
{
	CLEANUP(free) char *line = ctlproto_error_line(code, why);

	(void)!send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void client_new(struct ctl *ctl, int fd)
{
	struct loop *loop = &ctl->v->loop;
	struct ctl_client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return;
	}
	c->ctl = ctl;
	c->source.fd = fd;
	c->source.ready = on_client;
	c->timer.fire = on_timeout;
	if (!grow(c) || loop_add(loop, &c->source, EPOLLIN) < 0) {
		close(fd);
		free(c->in);
		free(c);
		return;
	}
	list_add_tail(&ctl->clients, &c->node);
	ctl->client_count++;
	loop_timer_set(loop, &c->timer, loop->now_ns + REQUEST_NS);
}

static void on_connect(struct loop_source *source, uint32_t events)
{
	struct ctl *ctl = container_of(source, struct ctl, listener);
	int fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return; /* gone again; or no descriptor left, and then later */
	if (!may_talk(fd))
		turn_away(
			fd, -VAN_E_DENIED, "only root, or the user that vand runs as, may do this");
	else if (ctl->client_count >= CLIENTS_MAX)
		turn_away(
			fd, -VAN_E_LIMIT, "vand is busy with too many requests at once; try again");
	else
		client_new(ctl, fd);
}

/* -- the socket -- */

static int make_directory(const char *path, struct err *e)
{
	CLEANUP(free) char *directory = strdup(path);
	char *slash = directory ? strrchr(directory, '/') : NULL;

	if (!slash || slash == directory)
		return 0;
	*slash = '\0';
	return file_make_dirs(directory, 0755, e);
}

/* A socket that somebody listens on is not ours to take; one that nobody does is left from before.
 */
static int clear_way(const struct sockaddr_un *address, struct err *e)
{
	CLEANUP(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const char *path = address->sun_path;
	struct stat st;

	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -EEXIST,
			"control_socket %s: there is something else by that name", path);
	if (fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
			       errno == EAGAIN))
		return err_set(e, -EADDRINUSE,
			"control_socket %s: another vand listens there; give this one a "
			"control_socket of its own",
			path);
	(void)unlink(path);
	return 0;
}

static int listen_on(const char *path, int *ret_fd, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEANUP(close) int fd = -1;
	int rc;

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(e, -ENAMETOOLONG, "control_socket %s: longer than %zu bytes", path,
			sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	rc = make_directory(path, e);
	if (rc == 0)
		rc = clear_way(&address, e);
	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode of the descriptor becomes the mode of the name: it is never open to others. */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
		bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, CLIENTS_MAX) < 0) {
		rc = -errno;
		return err_set(e, rc, "control_socket %s: %s", path, err_name(rc));
	}
	*ret_fd = fd;
	fd = -1;
	return 0;
}

int ctl_open(struct vand *v, struct ctl **ret_ctl, struct err *e)
{
	struct ctl *ctl = calloc(1, sizeof(*ctl));
	int rc;

	if (!ctl)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	ctl->v = v;
	list_init(&ctl->clients);
	list_init(&ctl->pings);
	randombytes_buf(&ctl->ping_token, sizeof(ctl->ping_token));
	ctl->listener.ready = on_connect;
	ctl->path = strdup(v->config.control_socket);
	if (!ctl->path) {
		rc = err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
		goto err_free;
	}
	rc = listen_on(ctl->path, &ctl->listener.fd, e);
	if (rc < 0)
		goto err_free;
	rc = loop_add(&v->loop, &ctl->listener, EPOLLIN);
	if (rc < 0) {
		err_set(e, rc, "control_socket %s: %s", ctl->path, err_name(rc));
		goto err_close;
	}
	*ret_ctl = ctl;
	return 0;

err_close:
	close(ctl->listener.fd);
	unlink(ctl->path);
err_free:
	free(ctl->path);
	free(ctl);
	return rc;
}

void ctl_close(struct ctl *ctl)
{
	if (!ctl)
		return;
	list_for_each_safe (it, &ctl->clients)
		client_free(container_of(it, struct ctl_client, node));
	loop_remove(&ctl->v->loop, &ctl->listener);
	close(ctl->listener.fd);
	unlink(ctl->path);
	free(ctl->path);
	free(ctl);
}

/* -- arguments -- */

int ctl_get_timeout(
	struct json_object *args, unsigned int default_ms, unsigned int *ret_ms, struct err *e)
{
	int64_t ms = default_ms;
	int rc = json_opt_int(args, "", "timeout_ms", 1, TIMEOUT_MAX_MS, &ms, e);

	if (rc == 0)
		*ret_ms = (unsigned int)ms;
	return rc;
}

int ctl_get_network(struct ctl *ctl, struct json_object *args, bool optional,
	const struct netmap_network **ret_network, struct err *e)
{
	const struct netmap *map = reconcile_map(ctl->v->reconcile);
	const char *name = NULL;
	int rc = optional ? json_opt_string(args, "", "network", 1, 64, &name, e)
			  : json_get_string(args, "", "network", 1, 64, &name, e);

	if (rc < 0)
		return rc;
	*ret_network = NULL;
	if (!name)
		return 0;
	for (int by_id = 0; by_id < 2; by_id++) {
		for (size_t i = 0; map && i < map->network_count; i++) {
			const struct netmap_network *nn = &map->networks[i];

			if (strcmp(by_id ? nn->id : nn->name, name) == 0) {
				*ret_network = nn;
				return 0;
			}
		}
	}
	return err_set(e, -VAN_E_NOT_FOUND,
		"this node is in no network called '%s' (vanctl status lists them)", name);
}
