/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "console-api/xalloc.h"
#include "lib/log.h"
#include "lib/token.h"

static const char *const stores[] = {"sqlite", "etcd", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

#define FIELD(name) offsetof(struct config, name)

static const struct conf_option options[] = {
	{.name = "state_dir",
		.type = CONF_STRING,
		.offset = FIELD(state_dir),
		.min = 1,
		.max = 4000,
		.default_text = "\"/var/lib/console-api\"",
		.help = "Directory for the store, the TLS key, the first admin key (admin.key) and the "
			"pin (tls.pin). Made with mode 0700 when it is not there."},
	{.name = "listen",
		.type = CONF_STRING,
		.offset = FIELD(listen),
		.min = 1,
		.max = 64,
		.default_text = "\"0.0.0.0:8443\"",
		.help = "Address and TCP port to listen on, for HTTPS. \"[::]:8443\" takes IPv6 and "
			"IPv4."},
	{.name = "public_url",
		.type = CONF_STRING,
		.offset = FIELD(public_url),
		.min = 9,
		.max = TOKEN_URL_MAX,
		.help = "The URL under which nodes reach this console, https://HOST:PORT; join tokens "
			"carry it. Without it: the address of `listen`, or this host's name where that is "
			"0.0.0.0 or [::]."},
	{.name = "store",
		.type = CONF_STRING,
		.offset = FIELD(store),
		.default_text = "\"sqlite\"",
		.choices = stores,
		.help = "Where the registry keeps its state: \"sqlite\" is one file in state_dir. "
			"\"etcd\" is not in this version."},
	{.name = "etcd_endpoints",
		.type = CONF_STRINGS,
		.offset = FIELD(etcd_endpoints),
		.help = "URLs of the etcd cluster. Not used in this version."},
	{.name = "web_root",
		.type = CONF_STRING,
		.offset = FIELD(web_root),
		.min = 1,
		.max = 4000,
		.help = "Directory of the browser console's files. Not used in this version."},
	{.name = "log_level",
		.type = CONF_STRING,
		.offset = FIELD(log_level),
		.default_text = "\"info\"",
		.choices = levels,
		.help = "How much to log. Read again on SIGHUP."},
	{.name = "rate_requests",
		.type = CONF_INT,
		.offset = FIELD(rate_requests),
		.min = 1,
		.max = 1000000,
		.default_text = "300",
		.help = "Requests a second that one API key or one node may make; bursts of twice as "
			"many pass. Beyond it the answer is 429 with Retry-After."},
	{.name = "rate_enrolments",
		.type = CONF_INT,
		.offset = FIELD(rate_enrolments),
		.min = 1,
		.max = 1000000,
		.default_text = "150",
		.help = "Enrolments a second that one address may ask for; bursts of twice as many "
			"pass."},
	{.name = "max_connections",
		.type = CONF_INT,
		.offset = FIELD(max_connections),
		.min = 16,
		.max = 100000,
		.default_text = "4096",
		.help = "Connections at one time; every node that is up holds one or two. One address may "
			"have half of them."},
	{.name = "audit_days",
		.type = CONF_INT,
		.offset = FIELD(audit_days),
		.min = 0,
		.max = 36500,
		.default_text = "365",
		.help = "Days for which the record of who changed what is kept; 0 keeps it for ever."},
	{0},
};

const struct conf_schema config_schema = {
	.program = "console-api", .options = options, .struct_size = sizeof(struct config)};

bool config_url_valid(const char *url)
{
	const char *host = url + strlen("https://");
	size_t len;

	if (strncmp(url, "https://", strlen("https://")) != 0)
		return false;
	len = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]");
	return len > 0 && !host[len] && host[0] != ':' && strlen(url) <= TOKEN_URL_MAX;
}

static char *default_url(const struct endpoint *ep)
{
	struct ip ip = endpoint_ip(ep);
	char host[256], text[ENDPOINT_TEXT_LEN];

	if (!ip_is_unspecified(&ip)) {
		endpoint_format(ep, text);
		return xasprintf("https://%s", text);
	}
	if (gethostname(host, sizeof(host)))
		snprintf(host, sizeof(host), "localhost");
	host[sizeof(host) - 1] = '\0';
	return xasprintf("https://%.200s:%u", host, endpoint_port(ep));
}

static int check(struct config *c, const char *path, const char **ret_warning, struct err *e)
{
	if (!endpoint_parse(c->listen, 0, &c->listen_on))
		return err_set(e, -VAN_E_CONFIG,
			"%s: listen must be ADDRESS:PORT such as \"0.0.0.0:8443\"", path);
	if (!strcmp(c->store, "etcd"))
		return err_set(e, -VAN_E_CONFIG,
			"%s: store = \"etcd\" is not in this version: use \"sqlite\"", path);
	if (c->public_url) {
		size_t len = strlen(c->public_url);

		if (c->public_url[len - 1] == '/')
			c->public_url[len - 1] = '\0';
		if (!config_url_valid(c->public_url))
			return err_set(e, -VAN_E_CONFIG,
				"%s: public_url must be https://HOST or https://HOST:PORT, without a path",
				path);
	} else {
		struct ip ip = endpoint_ip(&c->listen_on);

		c->public_url = default_url(&c->listen_on);
		if (!config_url_valid(c->public_url))
			return err_set(e, -VAN_E_CONFIG,
				"%s: public_url must be set: this host's name is not fit for a URL",
				path);
		if (ip_is_unspecified(&ip) && ret_warning)
			*ret_warning =
				"public_url is not set: join tokens carry this host's name, which "
				"other machines must be able to resolve";
	}
	if (c->web_root && ret_warning)
		*ret_warning = "web_root is not used in this version";
	return 0;
}

int config_load(
	const char *path, struct config *ret_config, const char **ret_warning, struct err *e)
{
	struct config c;
	int rc = conf_load(&config_schema, path, &c, e);

	if (ret_warning)
		*ret_warning = NULL;
	if (rc)
		return rc;
	rc = check(&c, path, ret_warning, e);
	if (rc) {
		conf_free(&config_schema, &c);
		return rc;
	}
	*ret_config = c;
	return 0;
}

void config_done(struct config *c)
{
	conf_free(&config_schema, c);
}
