/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file stands alone and is replaced as a whole (lib/file.h), so a crash at any moment leaves
 * a directory that the next start understands. In memory, the small maps are kept as the JSON
 * objects that are written: json-c's objects are hash tables.
 *
 * What each file can do to us when it is damaged differs. Without the identity this would be
 * another node, so that is an error. Everything else can be had again from the console or by a
 * handshake, so it is named in the log and in `vanctl status`, and the node starts without it.
 */
#include "vand/state.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/log.h"
#include "vand/state_internal.h"

#define SMALL_FILE_MAX   (64u << 10)
#define NETMAP_FILE_MAX  (64u << 20)
#define CONTACT_EVERY_NS (60 * NS_PER_S)

static const char *const file_names[] = {
	"identity", "membership", "netmap", "interfaces", "endpoints", "stamp", "starts"};
_Static_assert(sizeof(file_names) / sizeof(file_names[0]) == FILE__COUNT, "a name for each file");

char *state_path(const struct state *s, enum state_file file)
{
	char *path;

	if (asprintf(&path, "%s/%s", s->dir, file_names[file]) < 0)
		abort();
	return path;
}

static void set_text(char **slot, const char *text)
{
	free(*slot);
	*slot = text ? strdup(text) : NULL;
}

int state_write(struct state *s, enum state_file file, const char *text, struct err *e)
{
	CLEANUP(free) char *path = state_path(s, file);
	struct err why = {0};
	int rc = file_write_atomic(path, text, strlen(text), 0600, &why);

	if (rc < 0) {
		if (!s->failed[file])
			log_error("state: %s", why.text);
		set_text(&s->failed[file], why.text);
		return err_set(e, rc, "%s", why.text);
	}
	if (s->failed[file])
		log_info("state: %s could be written again", path);
	set_text(&s->failed[file], NULL);
	return 0;
}

int state_write_json(struct state *s, enum state_file file, struct json_object *o, struct err *e)
{
	return state_write(s, file, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY), e);
}

static int remove_file(struct state *s, enum state_file file, struct err *e)
{
	CLEANUP(free) char *path = state_path(s, file);

	if (unlink(path) < 0 && errno != ENOENT) {
		int rc = -errno;

		return err_set(e, rc, "cannot remove %s: %s", path, err_name(rc));
	}
	return 0;
}

void state_ignore(struct state *s, enum state_file file, const char *why)
{
	CLEANUP(free) char *path = state_path(s, file);
	CLEANUP(free) char *line = NULL;

	if (asprintf(&line, "%s is ignored: %s", path, why) < 0)
		abort();
	log_error("state: %s", line);
	set_text(&s->unreadable[file], line);
}

struct json_object *state_read_json(struct state *s, enum state_file file, size_t max)
{
	CLEANUP(free) char *path = state_path(s, file);
	CLEANUP(free) char *text = NULL;
	struct json_object *o = NULL;
	struct err e = {0};
	size_t len;
	int rc = file_read(path, max, &text, &len, &e);

	if (rc == -ENOENT)
		return NULL;
	if (rc == 0)
		rc = json_parse(text, len, &o, &e);
	if (rc == 0 && !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		o = NULL;
		rc = err_set(&e, -VAN_E_CORRUPT, "not a JSON object");
	}
	if (rc < 0) {
		state_ignore(s, file, e.text);
		return NULL;
	}
	return o;
}

/* -- membership -- */

static int read_leaving(struct state *s, struct json_object *o, struct err *e)
{
	struct json_object *list;
	int rc;

	if (!json_object_object_get_ex(o, "leaving", &list))
		return 0;
	rc = json_get_array(o, "", "leaving", &list, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *item = json_object_array_get_idx(list, i);

		if (!json_object_is_type(item, json_type_string) ||
			s->leaving_count == STATE_LEAVING_MAX)
			return err_set(e, -VAN_E_CORRUPT, "/leaving is not a list of ids");
		snprintf(s->leaving[s->leaving_count++], sizeof(s->leaving[0]), "%s",
			json_object_get_string(item));
	}
	return 0;
}

static int read_membership(struct state *s, struct json_object *o, struct err *e)
{
	const char *url = NULL, *pin, *console, *mesh, *node, *self = "";
	struct state_membership m = {0};
	int64_t port = 0;
	int rc;

	if ((rc = json_opt_int(o, "", "port", 0, 65535, &port, e)) < 0)
		return rc;
	s->port = (uint16_t)port;
	if ((rc = json_opt_string(o, "", "url", 1, sizeof(m.url) - 1, &url, e)) < 0)
		return rc;
	if (!url)
		return 0; /* not enrolled: the port is all there is */
	if ((rc = json_get_string(o, "", "pin", 1, sizeof(m.pin) - 1, &pin, e)) < 0 ||
		(rc = json_get_string(o, "", "console", 1, NETMAP_ID_MAX, &console, e)) < 0 ||
		(rc = json_opt_string(o, "", "self", 0, NETMAP_ID_MAX, &self, e)) < 0 ||
		(rc = json_get_string(o, "", "mesh", 32, 32, &mesh, e)) < 0 ||
		(rc = json_get_string(o, "", "node", 1, NETMAP_ID_MAX, &node, e)) < 0 ||
		(rc = netmap_consoles_read(o, "", s->consoles, &s->console_count, e)) < 0 ||
		(rc = read_leaving(s, o, e)) < 0)
		return rc;
	if (!hash_unhex(mesh, m.mesh, sizeof(m.mesh)))
		return err_set(e, -VAN_E_CORRUPT, "/mesh is not 32 hexadecimal digits");
	snprintf(m.url, sizeof(m.url), "%s", url);
	snprintf(m.pin, sizeof(m.pin), "%s", pin);
	snprintf(m.console, sizeof(m.console), "%s", console);
	snprintf(m.self, sizeof(m.self), "%s", self);
	snprintf(m.node_id, sizeof(m.node_id), "%s", node);
	s->membership = m;
	s->member = true;
	return 0;
}

static int write_membership(struct state *s, struct err *e)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	const struct state_membership *m = &s->membership;
	int rc;

	if (s->member) {
		char mesh[2 * MESSAGE_MESH_LEN + 1];

		hash_hex(m->mesh, sizeof(m->mesh), mesh);
		json_set_string(o, "url", m->url);
		json_set_string(o, "pin", m->pin);
		json_set_string(o, "console", m->console);
		json_set_string(o, "self", m->self);
		json_set_string(o, "mesh", mesh);
		json_set_string(o, "node", m->node_id);
		if (s->console_count)
			json_object_object_add(o, "consoles",
				netmap_consoles_write(s->consoles, s->console_count));
	}
	json_set_int(o, "port", s->port);
	if (s->leaving_count > 0) {
		struct json_object *list = json_object_new_array();

		for (size_t i = 0; i < s->leaving_count; i++)
			json_object_array_add(list, json_object_new_string(s->leaving[i]));
		json_object_object_add(o, "leaving", list);
	}
	rc = state_write_json(s, FILE_MEMBERSHIP, o, e);
	s->dirty[FILE_MEMBERSHIP] = rc < 0;
	return rc;
}

const struct state_membership *state_membership(const struct state *s)
{
	return s->member ? &s->membership : NULL;
}

int state_set_membership(struct state *s, const struct state_membership *m, struct err *e)
{
	struct state_membership before = s->membership;
	bool was_member = s->member;
	int rc;

	s->membership = *m;
	s->member = true;
	rc = write_membership(s, e);
	if (rc < 0) {
		/* Not promised, so not kept either. */
		s->membership = before;
		s->member = was_member;
		s->dirty[FILE_MEMBERSHIP] = false;
		return rc;
	}
	set_text(&s->unreadable[FILE_MEMBERSHIP], NULL);
	return 0;
}

const struct netmap_console *state_consoles(const struct state *s, size_t *ret_count)
{
	*ret_count = s->member ? s->console_count : 0;
	return *ret_count ? s->consoles : NULL;
}

int state_set_consoles(
	struct state *s, const struct netmap_console *consoles, size_t count, struct err *e)
{
	if (count > NETMAP_CONSOLES_MAX)
		count = NETMAP_CONSOLES_MAX;
	if (count == s->console_count && !s->dirty[FILE_MEMBERSHIP] &&
		memcmp(consoles, s->consoles, count * sizeof(*consoles)) == 0)
		return 0;
	memmove(s->consoles, consoles, count * sizeof(*consoles));
	s->console_count = count;
	return write_membership(s, e);
}

static struct json_object *replace_json(struct json_object **slot)
{
	json_object_put(*slot);
	*slot = json_object_new_object();
	return *slot;
}

int state_forget(struct state *s, struct err *e)
{
	static const enum state_file files[] = {FILE_NETMAP, FILE_INTERFACES, FILE_ENDPOINTS};
	int rc;

	s->member = false;
	memset(&s->membership, 0, sizeof(s->membership));
	s->leaving_count = 0;
	s->console_count = 0;
	s->contact_ns = 0;
	replace_json(&s->interfaces);
	replace_json(&s->endpoints);
	rc = write_membership(s, e);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int failed = remove_file(s, files[i], rc ? NULL : e);

		s->dirty[files[i]] = false;
		set_text(&s->failed[files[i]], NULL);
		set_text(&s->unreadable[files[i]], NULL);
		if (failed && !rc)
			rc = failed;
	}
	return rc;
}

uint16_t state_port(const struct state *s)
{
	return s->port;
}

int state_set_port(struct state *s, uint16_t port, struct err *e)
{
	if (s->port == port && !s->dirty[FILE_MEMBERSHIP])
		return 0;
	s->port = port;
	return write_membership(s, e);
}

const char *state_leaving(const struct state *s, size_t i)
{
	return i < s->leaving_count ? s->leaving[i] : NULL;
}

int state_set_leaving(struct state *s, const char *network_id, bool leaving, struct err *e)
{
	size_t i;

	for (i = 0; i < s->leaving_count; i++) {
		if (strcmp(s->leaving[i], network_id) == 0)
			break;
	}
	if ((i < s->leaving_count) == leaving)
		return 0;
	if (leaving && s->leaving_count == STATE_LEAVING_MAX)
		return err_set(e, -VAN_E_LIMIT,
			"%d networks were left that the console has not been told of yet",
			STATE_LEAVING_MAX);
	if (leaving)
		snprintf(s->leaving[s->leaving_count++], sizeof(s->leaving[0]), "%s", network_id);
	else
		memmove(s->leaving[i], s->leaving[i + 1],
			(--s->leaving_count - i) * sizeof(s->leaving[0]));
	return write_membership(s, e);
}

/* -- netmap -- */

static bool netmap_is_ours(const struct state *s, const struct netmap *map)
{
	return s->member && memcmp(map->mesh, s->membership.mesh, sizeof(map->mesh)) == 0 &&
	       strcmp(map->node_id, s->membership.node_id) == 0 &&
	       key_equal(&map->node_key, &s->identity.public);
}

struct netmap *state_load_netmap(struct state *s, struct json_object **ret_document)
{
	CLEANUP(json) struct json_object *o = NULL;
	struct netmap *map;
	struct err e = {0};

	if (!s->member)
		return NULL;
	o = state_read_json(s, FILE_NETMAP, NETMAP_FILE_MAX);
	if (!o)
		return NULL;
	if (netmap_from_json(o, &map, &e) < 0) {
		state_ignore(s, FILE_NETMAP, e.text);
		return NULL;
	}
	if (!netmap_is_ours(s, map)) {
		state_ignore(s, FILE_NETMAP, "it is of another mesh or node");
		netmap_free(map);
		return NULL;
	}
	if (ret_document)
		*ret_document = STEAL(o);
	return map;
}

int state_save_netmap(
	struct state *s, const struct netmap *map, struct json_object *document, struct err *e)
{
	CLEANUP(json) struct json_object *o = NULL;
	int rc;

	if (!netmap_is_ours(s, map))
		return err_set(e, -VAN_E_INVALID, "this netmap is of another mesh or node");
	o = document ? json_object_get(document) : netmap_to_json(map);
	rc = state_write(
		s, FILE_NETMAP, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN), e);
	if (rc == 0) {
		s->contact_ns = clock_wall_ns();
		set_text(&s->unreadable[FILE_NETMAP], NULL);
	}
	return rc;
}

uint64_t state_netmap_contact_ns(const struct state *s)
{
	return s->contact_ns;
}

void state_touch_netmap(struct state *s, uint64_t wall_ns)
{
	CLEANUP(free) char *path = NULL;
	struct timespec times[2];

	if (s->contact_ns == 0)
		return; /* no such file */
	if (wall_ns >= s->contact_ns && wall_ns - s->contact_ns < CONTACT_EVERY_NS)
		return;
	path = state_path(s, FILE_NETMAP);
	times[0] = (struct timespec){
		.tv_sec = (time_t)(wall_ns / NS_PER_S), .tv_nsec = (long)(wall_ns % NS_PER_S)};
	times[1] = times[0];
	/* Should this fail, the map counts as older than it is: the safe side. */
	if (utimensat(AT_FDCWD, path, times, 0) == 0)
		s->contact_ns = wall_ns;
}

static void load_contact(struct state *s)
{
	CLEANUP(free) char *path = state_path(s, FILE_NETMAP);
	struct stat st;

	if (stat(path, &st) == 0)
		s->contact_ns =
			(uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
}

/* -- the whole -- */

bool state_dirty(const struct state *s)
{
	for (size_t i = 0; i < FILE__COUNT; i++) {
		if (s->dirty[i])
			return true;
	}
	return false;
}

int state_flush(struct state *s, struct err *e)
{
	int rc = 0, failed;

	if (s->dirty[FILE_MEMBERSHIP])
		rc = write_membership(s, e);
	failed = state_flush_caches(s, rc ? NULL : e);
	return rc ? rc : failed;
}

/* Locks the directory. The lock goes with the process, however it ends. */
static int take_lock(struct state *s, struct err *e)
{
	CLEANUP(free) char *path = NULL;
	char pid[16] = "";
	ssize_t n;
	int rc, fd;

	if (asprintf(&path, "%s/lock", s->dir) < 0)
		abort();
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		rc = -errno;
		return err_set(
			e, rc, "cannot use state_dir %s: %s: %s", s->dir, path, err_name(rc));
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		rc = -errno;
		n = read(fd, pid, sizeof(pid) - 1);
		if (n > 0)
			pid[strcspn(pid, "\n")] = '\0';
		close(fd);
		if (rc != -EWOULDBLOCK)
			return err_set(e, rc, "cannot lock %s: %s", path, err_name(rc));
		return err_set(e, -EBUSY,
			"state_dir %s is in use by another vand (pid %s): stop that one, or give "
			"this one a state_dir of its own",
			s->dir, pid[0] ? pid : "unknown");
	}
	s->lock_fd = fd;
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, strlen(pid), 0) < 0)
		log_debug("state: cannot write the pid into %s: %s", path, err_name(-errno));
	return 0;
}

static void load_membership(struct state *s)
{
	CLEANUP(json) struct json_object *o = state_read_json(s, FILE_MEMBERSHIP, SMALL_FILE_MAX);
	struct err e = {0};

	if (o && read_membership(s, o, &e) < 0) {
		s->leaving_count = 0;
		s->console_count = 0;
		state_ignore(s, FILE_MEMBERSHIP, e.text);
	}
	if (s->unreadable[FILE_MEMBERSHIP]) {
		CLEANUP(free) char *path = state_path(s, FILE_MEMBERSHIP);
		CLEANUP(free) char *aside = NULL;

		/* It is written anew for the port alone: keep what somebody may want to look at. */
		if (asprintf(&aside, "%s.damaged", path) < 0)
			abort();
		(void)rename(path, aside);
		log_error(
			"state: this node is in no mesh until it joins again; it keeps its keys, so "
			"the console will know it");
	}
}

int state_open(const char *dir, struct state **ret_state, struct err *e)
{
	struct state *s;
	char *path;
	int rc = file_make_dirs(dir, 0700, e);

	if (rc < 0)
		return err_prefix(e, rc, "state_dir");
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	s->lock_fd = -1;
	s->dir = strdup(dir);
	rc = s->dir ? take_lock(s, e) : err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	if (rc < 0)
		goto err_free;
	path = state_path(s, FILE_IDENTITY);
	rc = identity_load_or_create(path, &s->identity, e);
	free(path);
	if (rc < 0)
		goto err_free;
	load_membership(s);
	state_load_caches(s);
	load_contact(s);
	*ret_state = s;
	return 0;

err_free:
	state_close(s);
	return rc;
}

void state_close(struct state *s)
{
	if (!s)
		return;
	if (s->interfaces && state_dirty(s))
		(void)state_flush(s, NULL); /* a failure is logged */
	identity_wipe(&s->identity);
	json_object_put(s->interfaces);
	json_object_put(s->endpoints);
	for (size_t i = 0; i < FILE__COUNT; i++) {
		free(s->failed[i]);
		free(s->unreadable[i]);
	}
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->dir);
	free(s);
}

const struct identity *state_identity(const struct state *s)
{
	return &s->identity;
}

void state_warnings(const struct state *s, struct json_object *array)
{
	for (size_t i = 0; i < FILE__COUNT; i++) {
		if (s->unreadable[i])
			json_object_array_add(array, json_object_new_string(s->unreadable[i]));
		if (s->failed[i])
			json_object_array_add(array, json_object_new_string(s->failed[i]));
	}
}
