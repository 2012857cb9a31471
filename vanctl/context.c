// SPDX-License-Identifier: Apache-2.0
#include "vanctl/context.h"

#include <ctype.h>
#include <pwd.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/key.h"
#include "vanctl/secretfile.h"

#define CONTEXT_FILE_MAX (64u << 10)
#define CONTEXT_DEFAULT  "default"
#define STALE_S          86400

void context_done(struct context *c)
{
	secretfile_free(c->key);
	free(c->console);
	free(c->pin);
	free(c->next_pin);
	free(c->ca_file);
	memset(c, 0, sizeof(*c));
}

static void cleanup_context(struct context *c)
{
	context_done(c);
}

bool context_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > CONTEXT_NAME_MAX || name[0] == '.' || name[0] == '-')
		return false;
	for (; *name; name++) {
		if (!isascii((unsigned char)*name) ||
			(!isalnum((unsigned char)*name) && !strchr("._-", *name)))
			return false;
	}
	return true;
}

static int out_of_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

int context_dir(char **ret_dir, struct err *e)
{
	const char *base = getenv("XDG_CONFIG_HOME");
	const char *below = "/van";
	const struct passwd *pw;
	char *dir;

	/* The XDG base directory specification has relative paths ignored. */
	if (!base || base[0] != '/') {
		below = "/.config/van";
		base = getenv("HOME");
		if (!base || base[0] != '/') {
			pw = getpwuid(getuid());
			base = pw ? pw->pw_dir : NULL;
		}
	}
	if (!base || !*base)
		return err_set(e, -ENOENT,
			"no place for logins: set HOME or XDG_CONFIG_HOME to a directory");
	if (asprintf(&dir, "%s%s", base, below) < 0)
		return out_of_memory(e);
	*ret_dir = dir;
	return 0;
}

static int file_of(const char *dir, const char *name, char **ret_path, struct err *e)
{
	return asprintf(ret_path, "%s/contexts/%s.json", dir, name) < 0 ? out_of_memory(e) : 0;
}

static int read_members(struct json_object *o, struct context *c, struct err *e)
{
	const char *console = NULL, *key = NULL, *pin = NULL, *next_pin = NULL, *ca = NULL;
	int64_t format;
	int rc = json_get_int(o, "", "format", 1, 1, &format, e);

	if (!rc)
		rc = json_get_string(o, "", "console", 1, 2048, &console, e);
	if (!rc)
		rc = json_get_string(o, "", "key", 1, SECRETFILE_MAX, &key, e);
	if (!rc)
		rc = json_opt_string(o, "", "pin", 1, 2048, &pin, e);
	if (!rc)
		rc = json_opt_string(o, "", "next_pin", 1, 2048, &next_pin, e);
	if (!rc)
		rc = json_opt_string(o, "", "ca", 1, 4096, &ca, e);
	if (rc)
		return rc;
	c->console = strdup(console);
	c->key = strdup(key);
	c->pin = pin ? strdup(pin) : NULL;
	c->next_pin = next_pin ? strdup(next_pin) : NULL;
	c->ca_file = ca ? strdup(ca) : NULL;
	if (!c->console || !c->key || (pin && !c->pin) || (next_pin && !c->next_pin) ||
		(ca && !c->ca_file))
		return out_of_memory(e);
	return 0;
}

/* json-c's copy of the key goes with the object; wipe it before. */
static void wipe_key(struct json_object *o)
{
	struct json_object *key = output_member(o, "key");

	if (json_object_is_type(key, json_type_string))
		sodium_memzero((char *)json_object_get_string(key),
			(size_t)json_object_get_string_len(key));
}

int context_load(const char *dir, const char *name, struct context *ret_context, struct err *e)
{
	CLEANUP(context) struct context c = {0};
	CLEANUP(json) struct json_object *o = NULL;
	CLEANUP(free) char *path = NULL;
	char *data = NULL;
	size_t len = 0;
	int rc = file_of(dir, name, &path, e);

	if (!rc)
		rc = file_read(path, CONTEXT_FILE_MAX, &data, &len, e);
	if (rc)
		return rc;
	rc = json_parse(data, len, &o, e);
	sodium_memzero(data, len);
	free(data);
	if (!rc)
		rc = read_members(o, &c, e);
	wipe_key(o);
	if (rc == -ENOMEM)
		return rc;
	if (rc) {
		err_prefix(e, rc, "%s is damaged, log in again", path);
		if (e)
			e->code = -VAN_E_CORRUPT;
		return -VAN_E_CORRUPT;
	}
	snprintf(c.name, sizeof(c.name), "%s", name);
	*ret_context = c;
	memset(&c, 0, sizeof(c));
	return 0;
}

void context_current(const char *dir, char ret_name[CONTEXT_NAME_MAX + 1])
{
	CLEANUP(free) char *path = NULL;
	CLEANUP(free) char *data = NULL;
	size_t len = 0;

	strcpy(ret_name, CONTEXT_DEFAULT);
	if (asprintf(&path, "%s/current", dir) < 0) {
		path = NULL;
		return;
	}
	if (file_read(path, CONTEXT_NAME_MAX + 1, &data, &len, NULL) < 0)
		return;
	data[strcspn(data, "\n")] = '\0';
	if (context_name_valid(data))
		strcpy(ret_name, data);
}

static int write_file(const char *dir, const struct context *c, struct err *e)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	CLEANUP(free) char *path = NULL;
	const char *text;
	int rc = file_of(dir, c->name, &path, e);

	if (rc)
		return rc;
	json_set_int(o, "format", 1);
	json_set_string(o, "console", c->console);
	json_set_string(o, "key", c->key);
	json_set_string(o, "pin", c->pin);
	json_set_string(o, "next_pin", c->next_pin);
	json_set_string(o, "ca", c->ca_file);
	text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	rc = file_write_atomic(path, text, strlen(text), 0600, e);
	sodium_memzero((char *)text, strlen(text));
	wipe_key(o);
	return rc;
}

int context_save(const char *dir, const struct context *c, struct err *e)
{
	CLEANUP(free) char *folder = NULL;
	CLEANUP(free) char *current = NULL;
	char line[CONTEXT_NAME_MAX + 2];
	int rc;

	if (asprintf(&folder, "%s/contexts", dir) < 0 || asprintf(&current, "%s/current", dir) < 0)
		return out_of_memory(e);
	rc = file_make_dirs(folder, 0700, e);
	if (!rc)
		rc = write_file(dir, c, e);
	if (rc)
		return rc;
	snprintf(line, sizeof(line), "%s\n", c->name);
	return file_write_atomic(current, line, strlen(line), 0600, e);
}

int context_learn(
	const char *dir, const char *name, const char *pin, const char *next_pin, struct err *e)
{
	CLEANUP(context) struct context c = {0};
	CLEANUP(free) char *checked = NULL;
	int rc = context_load(dir, name, &c, e);

	if (!rc && next_pin)
		rc = context_check_pin(next_pin, &checked, e);
	if (rc || !c.pin)
		return rc;
	if (c.next_pin && strcmp(c.next_pin, pin) == 0) {
		free(c.pin);
		c.pin = STEAL(c.next_pin);
	}
	free(c.next_pin);
	c.next_pin = STEAL(checked);
	return write_file(dir, &c, e); /* unchanged too: its age tells when this was */
}

bool context_is_stale(const char *dir, const char *name)
{
	CLEANUP(free) char *path = NULL;
	struct stat st;

	return !file_of(dir, name, &path, NULL) && stat(path, &st) == 0 &&
	       time(NULL) - st.st_mtime > STALE_S;
}

int context_check_url(const char *text, char **ret_url, struct err *e)
{
	const char *host = text + strlen("https://");
	size_t len;

	if (strncasecmp(text, "http://", 7) == 0)
		return err_set(e, -VAN_E_SYNTAX,
			"%.128s: http:// would send the key in clear; use https://", text);
	if (strncasecmp(text, "https://", 8) != 0)
		return err_set(e, -VAN_E_SYNTAX,
			"'%.128s' is no console URL such as https://console.example.com:8443",
			text);
	len = strcspn(host, "/");
	if (len == 0 || strspn(host + len, "/") != strlen(host + len) ||
		strcspn(host, " \t\r\n?#@\\") < len)
		return err_set(e, -VAN_E_SYNTAX,
			"'%.128s' must be https://HOST[:PORT] and nothing else", text);
	if (asprintf(ret_url, "https://%.*s", (int)len, host) < 0)
		return out_of_memory(e);
	return 0;
}

static bool pin_valid(const char *pin, size_t len)
{
	char text[KEY_TEXT_LEN];
	struct key hash;

	if (len != 8 + KEY_TEXT_LEN - 1 || strncmp(pin, "sha256//", 8) != 0)
		return false;
	memcpy(text, pin + 8, KEY_TEXT_LEN - 1);
	text[KEY_TEXT_LEN - 1] = '\0';
	return key_parse(text, &hash);
}

int context_check_pin(const char *text, char **ret_pin, struct err *e)
{
	size_t len;
	char *pin;

	text += strspn(text, " \t\r\n");
	len = strlen(text);
	while (len && strchr(" \t\r\n", text[len - 1]))
		len--;
	for (size_t at = 0; at <= len;) {
		size_t n = strcspn(text + at, ";");

		if (at + n > len)
			n = len - at;
		if (!pin_valid(text + at, n))
			return err_set(e, -VAN_E_SYNTAX,
				"'%.128s' is no pin of the form sha256//BASE64; on the console: "
				"cat <state_dir>/tls.pin",
				text);
		at += n + 1;
	}
	pin = strndup(text, len);
	if (!pin)
		return out_of_memory(e);
	*ret_pin = pin;
	return 0;
}

/* The stored login, if there is one: *ret_found. */
static int load_stored(struct vanctl *v, struct context *c, bool *ret_found, struct err *e)
{
	const struct command_args *args = v->args;
	CLEANUP(free) char *path = NULL;
	CLEANUP(free) char *dir = NULL;
	char name[CONTEXT_NAME_MAX + 1];
	int rc = context_dir(&dir, e);

	if (rc)
		return args->set[OPT_CONTEXT] ? rc : 0;
	if (args->set[OPT_CONTEXT]) {
		if (!context_name_valid(args->text[OPT_CONTEXT]))
			return err_set(e, -VAN_E_SYNTAX, "'%.64s' is no name of a login",
				args->text[OPT_CONTEXT]);
		strcpy(name, args->text[OPT_CONTEXT]);
	} else {
		context_current(dir, name);
	}
	rc = context_load(dir, name, c, e);
	if (rc == -ENOENT && args->set[OPT_CONTEXT])
		return err_set(e, -VAN_E_NOT_FOUND,
			"there is no login '%s'; make it: vanctl login --context %s --console URL "
			"--key-file FILE",
			name, name);
	if (rc == -ENOENT)
		return 0;
	if (rc)
		return rc;
	*ret_found = true;
	if (file_of(dir, name, &path, NULL) == 0)
		secretfile_check_mode(v, path);
	return 0;
}

static int replace(char **text, const char *with, struct err *e)
{
	char *copy = strdup(with);

	if (!copy)
		return out_of_memory(e);
	free(*text);
	*text = copy;
	return 0;
}

/* --console: a login of another console gives neither its key nor its pin away. */
static int override_console(struct context *c, const char *text, struct err *e)
{
	char *url = NULL;
	int rc = context_check_url(text, &url, e);

	if (rc)
		return rc;
	if (!c->console || strcmp(c->console, url) != 0)
		context_done(c);
	free(c->console);
	c->console = url;
	return 0;
}

/* A pin or CA that is given replaces both that are stored. */
static int override_trust(struct context *c, const struct command_args *args, struct err *e)
{
	int rc = 0;

	if (!args->set[OPT_PIN] && !args->set[OPT_CA])
		return 0;
	free(c->pin);
	free(c->next_pin);
	free(c->ca_file);
	c->pin = c->next_pin = c->ca_file = NULL;
	if (args->set[OPT_PIN])
		rc = context_check_pin(args->text[OPT_PIN], &c->pin, e);
	if (!rc && args->set[OPT_CA])
		rc = replace(&c->ca_file, args->text[OPT_CA], e);
	return rc;
}

int context_resolve(
	struct vanctl *v, struct context *ret_context, bool *ret_logged_out, struct err *e)
{
	CLEANUP(context) struct context c = {0};
	const struct command_args *args = v->args;
	bool found = false;
	int rc = 0;

	/* With console and key given, a stored login matters only for the pin; a damaged one must
	 * not stand in the way. */
	rc = load_stored(v, &c, &found, e);
	if (rc && !(args->set[OPT_CONSOLE] && args->set[OPT_KEY_FILE] && !args->set[OPT_CONTEXT]))
		return rc;
	if (args->set[OPT_CONSOLE])
		rc = override_console(&c, args->text[OPT_CONSOLE], e);
	else
		rc = 0;
	if (!rc)
		rc = override_trust(&c, args, e);
	if (!rc && args->set[OPT_KEY_FILE]) {
		secretfile_free(STEAL(c.key));
		rc = secretfile_read(v, args->text[OPT_KEY_FILE], "API key", &c.key, e);
	}
	if (rc)
		return rc;
	if (!c.console || !c.key) {
		if (ret_logged_out)
			*ret_logged_out = !found && !args->set[OPT_CONSOLE];
		if (!c.console)
			return err_set(e, -VAN_E_CONFIG,
				"not logged in to a console: vanctl login --console URL --key-file FILE");
		return err_set(e, -VAN_E_CONFIG,
			"no API key for %s: give --key-file FILE, or log in: vanctl login --console %s "
			"--key-file FILE",
			c.console, c.console);
	}
	*ret_context = c;
	memset(&c, 0, sizeof(c));
	return 0;
}
