/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/store_open.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "console-api/store_etcd.h"
#include "console-api/store_sqlite.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/hash.h"
#include "lib/log.h"

#define INSTANCE_LEN 16u /* hexadecimal digits */
#define ETCD_WAIT_MS 30000u
#define PASSWORD_MAX 4096u

int state_dir_lock(const char *dir, int *ret_fd, struct err *e)
{
	CLEANUP(free) char *path = xasprintf("%s/lock", dir);
	int rc = file_make_dirs(dir, 0700, e);
	int fd;

	if (rc)
		return rc;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, -errno, "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return err_set(
			e, -EBUSY, "another console-api is running on %s: stop it first", dir);
	}
	*ret_fd = fd;
	return 0;
}

char *store_place(const struct config *config)
{
	if (!strcmp(config->store, "etcd"))
		return xasprintf("%s at %s", config->etcd_prefix, config->etcd_endpoints.items[0]);
	return xasprintf("%s/registry.db", config->state_dir);
}

/* -- etcd -- */

/* This console's name among those on the store: drawn once, and kept. */
static int load_instance(const char *dir, char ret_instance[INSTANCE_LEN + 1], struct err *e)
{
	CLEANUP(free) char *path = xasprintf("%s/instance", dir);
	CLEANUP(free) char *text = NULL;
	uint8_t raw[INSTANCE_LEN / 2];
	size_t len;
	int rc = file_read(path, INSTANCE_LEN + 2, &text, &len, e);

	if (!rc) {
		text[strcspn(text, "\r\n")] = '\0';
		if (!hash_unhex(text, raw, sizeof(raw)))
			return err_set(e, -VAN_E_CORRUPT,
				"%s is damaged: remove it, and this console gets a new name", path);
		hash_hex(raw, sizeof(raw), ret_instance);
		return 0;
	}
	if (rc != -ENOENT)
		return rc;
	randombytes_buf(raw, sizeof(raw));
	hash_hex(raw, sizeof(raw), ret_instance);
	free(text);
	text = xasprintf("%s\n", ret_instance);
	return file_write_atomic(path, text, strlen(text), 0600, e);
}

static int load_password(const struct config *config, char **ret_password, struct err *e)
{
	char *text = NULL;
	size_t len;
	int rc;

	if (!config->etcd_password_file)
		return 0;
	rc = file_read(config->etcd_password_file, PASSWORD_MAX, &text, &len, e);
	if (rc)
		return rc;
	text[strcspn(text, "\r\n")] = '\0';
	*ret_password = text;
	return 0;
}

static void warn_of_clear_text(const struct config *config)
{
	for (size_t i = 0; i < config->etcd_endpoints.count; i++) {
		const char *url = config->etcd_endpoints.items[i];

		if (!strncmp(url, "http://", 7) && strncmp(url, "http://127.", 11) != 0 &&
			strncmp(url, "http://[::1]", 12) != 0 &&
			strncmp(url, "http://localhost", 16) != 0)
			log_warn(
				"etcd_endpoints: %s is not encrypted: whoever is on the way reads and "
				"changes the registry",
				url);
	}
}

static int open_etcd(
	const struct config *config, enum store_use use, struct store **ret_store, struct err *e)
{
	char instance[INSTANCE_LEN + 1] = "reader";
	char *password = NULL;
	struct store_etcd_options options = {
		.etcd = {.endpoints = (const char *const *)config->etcd_endpoints.items,
			.endpoint_count = config->etcd_endpoints.count,
			.ca_file = config->etcd_ca,
			.cert_file = config->etcd_cert,
			.key_file = config->etcd_key,
			.user = config->etcd_user,
			.timeout_ms = (unsigned int)config->etcd_timeout_ms},
		.prefix = config->etcd_prefix,
		.instance = instance,
		.read_only = use == STORE_READ,
	};
	int rc = use == STORE_READ ? 0 : load_instance(config->state_dir, instance, e);

	warn_of_clear_text(config);
	if (!rc)
		rc = load_password(config, &password, e);
	options.etcd.password = password;
	if (!rc)
		rc = store_etcd_open(&options, ETCD_WAIT_MS, ret_store, e);
	if (password)
		sodium_memzero(password, strlen(password));
	free(password);
	return rc;
}

int store_open(
	const struct config *config, enum store_use use, struct store **ret_store, struct err *e)
{
	CLEANUP(free) char *path = xasprintf("%s/registry.db", config->state_dir);

	if (!strcmp(config->store, "etcd"))
		return open_etcd(config, use, ret_store, e);
	if (use == STORE_WRITE)
		return store_sqlite_open(path, ret_store, e);
	return store_sqlite_open_read(path, ret_store, e);
}
