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
static const char *const clone_policies[] = {"alarm", "reject", "replace", "re-enrol", NULL};
static const char *const log_formats[] = {"text", "json", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

#define FIELD(name) offsetof(struct config, name)

/* limit_networks, … */
#define LIMIT(constant, option, standard, text)                                                \
	{.name = "limit_" #option,                                                             \
		.type = CONF_INT,                                                              \
		.offset = FIELD(limits) + QUOTA_##constant * sizeof(int64_t),                  \
		.min = 0,                                                                      \
		.max = QUOTA_MAX,                                                              \
		.default_text = #standard,                                                     \
		.help = text " of one organization at most, unless it has a limit of its own " \
			     "(vanctl org set ORG --limits " #option "=NUMBER)."},

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
		.help = "Where the registry keeps its state: \"sqlite\" is one file in state_dir, for "
			"one console; \"etcd\" is an etcd cluster, for one or several consoles that "
			"serve the same mesh."},
	{.name = "etcd_endpoints",
		.type = CONF_STRINGS,
		.offset = FIELD(etcd_endpoints),
		.min = 8,
		.max = 255,
		.help = "URLs of the members of the etcd cluster, https://HOST:PORT, best all of them: "
			"the console goes to the next one when one does not answer. http:// is for a "
			"member on the same machine."},
	{.name = "etcd_ca",
		.type = CONF_STRING,
		.offset = FIELD(etcd_ca),
		.min = 1,
		.max = 4000,
		.help = "File with the certificate of the CA that issued those of etcd, in PEM. Without "
			"it: the system's CAs."},
	{.name = "etcd_cert",
		.type = CONF_STRING,
		.offset = FIELD(etcd_cert),
		.min = 1,
		.max = 4000,
		.help = "File with this console's certificate for etcd, in PEM, where etcd asks for one "
			"(client-cert-auth)."},
	{.name = "etcd_key",
		.type = CONF_STRING,
		.offset = FIELD(etcd_key),
		.min = 1,
		.max = 4000,
		.help = "File with the key of etcd_cert, in PEM."},
	{.name = "etcd_user",
		.type = CONF_STRING,
		.offset = FIELD(etcd_user),
		.min = 1,
		.max = 255,
		.help = "User of etcd's own authentication, where it is enabled."},
	{.name = "etcd_password_file",
		.type = CONF_STRING,
		.offset = FIELD(etcd_password_file),
		.min = 1,
		.max = 4000,
		.help = "File with the password of etcd_user, in its first line."},
	{.name = "etcd_prefix",
		.type = CONF_STRING,
		.offset = FIELD(etcd_prefix),
		.min = 3,
		.max = 128,
		.default_text = "\"/van/\"",
		.help = "What all keys of this mesh in etcd start with; it starts and ends with a slash. "
			"Another mesh on the same cluster needs another one."},
	{.name = "etcd_timeout_ms",
		.type = CONF_INT,
		.offset = FIELD(etcd_timeout_ms),
		.min = 100,
		.max = 10000,
		.default_text = "1000",
		.help = "Milliseconds to wait for an answer of a member of etcd before the next one is "
			"asked. A change that nobody answers for three times as long is refused."},
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
	{.name = "log_format",
		.type = CONF_STRING,
		.offset = FIELD(log_format),
		.default_text = "\"text\"",
		.choices = log_formats,
		.help = "How to log: lines of text, or a JSON object a line with the members time, "
			"level, program, message and, where there is one, request."},
	{.name = "rate_requests",
		.type = CONF_INT,
		.offset = FIELD(rate_requests),
		.min = 1,
		.max = 1000000,
		.default_text = "300",
		.help = "Requests a second that one API key or one node may make; bursts of twice as "
			"many pass. Beyond it the answer is 429 with Retry-After."},
	{.name = "rate_address",
		.type = CONF_INT,
		.offset = FIELD(rate_address),
		.min = 1,
		.max = 1000000,
		.default_text = "5000",
		.help = "Requests a second from one address, whoever sends them; bursts of twice as many "
			"pass. Counted before any credential is looked at."},
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
		.help = "Connections at one time; every node that is up holds one or two. When there are "
			"more, the oldest one without valid credentials is closed."},
	{.name = "audit_days",
		.type = CONF_INT,
		.offset = FIELD(audit_days),
		.min = 0,
		.max = 36500,
		.default_text = "365",
		.help = "Days for which the record of who changed what is kept; 0 keeps it for ever."},
	{.name = "event_days",
		.type = CONF_INT,
		.offset = FIELD(event_days),
		.min = 0,
		.max = 36500,
		.default_text = "30",
		.help = "Days for which events (a node joined, went away, …) are kept; 0 keeps them for "
			"ever. Of one organization at most the last 10000 are."},
	/* clang-format off */
	QUOTA_TABLE(LIMIT)
	/* clang-format on */
	{.name = "stats_memory_mb",
		.type = CONF_INT,
		.offset = FIELD(stats_memory_mb),
		.min = 8,
		.max = 65536,
		.default_text = "96",
		.help = "Megabytes of memory for statistics. A node takes 6 KB, and 110 KB after 30 "
			"days of traffic without a pause; where that does not fit, the finest history "
			"is shortened first. The file in state_dir takes up to three times as much."},
	{.name = "stats_save_s",
		.type = CONF_INT,
		.offset = FIELD(stats_save_s),
		.min = 1,
		.max = 3600,
		.default_text = "60",
		.help = "Seconds between two times that statistics are written to state_dir."},
	{.name = "metrics_listen",
		.type = CONF_STRING,
		.offset = FIELD(metrics_listen),
		.min = 1,
		.max = 64,
		.help = "Address and port of this machine (127.0.0.1:PORT or [::1]:PORT) where /metrics "
			"is served without TLS and without a key, of all organizations. Without it, "
			"/metrics is served beside the API, to API keys."},
	{.name = "metrics_nodes",
		.type = CONF_INT,
		.offset = FIELD(metrics_nodes),
		.min = 0,
		.max = 100000,
		.default_text = "1000",
		.help = "For how many nodes /metrics has figures of their own; for the others it has "
			"sums only. Networks count likewise."},
	{.name = "clone_policy",
		.type = CONF_STRING,
		.offset = FIELD(clone_policy),
		.default_text = "\"alarm\"",
		.choices = clone_policies,
		.help = "What to do when two machines use the identity of one node (a copied state "
			"directory): \"alarm\" makes an event of it, \"reject\" also refuses the one that "
			"came later, \"replace\" the one that came earlier, \"re-enrol\" both, until the "
			"node has joined with a new token."},
	{.name = "mesh_signatures",
		.type = CONF_BOOL,
		.offset = FIELD(mesh_signatures),
		.default_text = "true",
		.help = "Also take requests that nodes have signed for the mesh instead of for this "
			"console, as vand of version 0.1 does. Whoever such a vand was made to talk to can "
			"repeat its request here: set it to false once all nodes are upgraded. With "
			"store = \"etcd\" they are never taken: one could be repeated at another console."},
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

static bool etcd_url_valid(const char *url)
{
	size_t scheme = !strncmp(url, "https://", 8) ? 8 : !strncmp(url, "http://", 7) ? 7 : 0;
	size_t len = strspn(url + scheme,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]");

	return scheme && len && !url[scheme + len];
}

static bool etcd_prefix_valid(const char *prefix)
{
	size_t len = strlen(prefix);

	return prefix[0] == '/' && prefix[len - 1] == '/' && !strstr(prefix, "//") &&
	       strspn(prefix,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") == len;
}

static int check_etcd(const struct config *c, const char *path, struct err *e)
{
	if (!c->etcd_endpoints.count)
		return err_set(e, -VAN_E_CONFIG,
			"%s: store = \"etcd\" needs etcd_endpoints: [\"https://HOST:2379\", …]",
			path);
	for (size_t i = 0; i < c->etcd_endpoints.count; i++)
		if (!etcd_url_valid(c->etcd_endpoints.items[i]))
			return err_set(e, -VAN_E_CONFIG,
				"%s: etcd_endpoints: \"%s\" must be https://HOST:PORT, without a path",
				path, c->etcd_endpoints.items[i]);
	if (!etcd_prefix_valid(c->etcd_prefix))
		return err_set(e, -VAN_E_CONFIG,
			"%s: etcd_prefix must start and end with a slash, such as \"/van/\"", path);
	if (!c->etcd_cert != !c->etcd_key)
		return err_set(
			e, -VAN_E_CONFIG, "%s: etcd_cert and etcd_key belong together", path);
	if (!c->etcd_user != !c->etcd_password_file)
		return err_set(e, -VAN_E_CONFIG,
			"%s: etcd_user and etcd_password_file belong together", path);
	return 0;
}

static int check_metrics(struct config *c, const char *path, struct err *e)
{
	struct ip ip;

	if (!c->metrics_listen)
		return 0;
	if (!endpoint_parse(c->metrics_listen, 0, &c->metrics_on))
		return err_set(e, -VAN_E_CONFIG,
			"%s: metrics_listen must be ADDRESS:PORT such as \"127.0.0.1:9464\"", path);
	ip = endpoint_ip(&c->metrics_on);
	if (!ip_is_loopback(&ip))
		return err_set(e, -VAN_E_CONFIG,
			"%s: metrics_listen must be an address of this machine only, such as "
			"127.0.0.1: it asks for no key. Elsewhere /metrics is beside the API",
			path);
	return 0;
}

static int check(struct config *c, const char *path, const char **ret_warning, struct err *e)
{
	int rc = check_metrics(c, path, e);

	if (rc)
		return rc;
	if (!endpoint_parse(c->listen, 0, &c->listen_on))
		return err_set(e, -VAN_E_CONFIG,
			"%s: listen must be ADDRESS:PORT such as \"0.0.0.0:8443\"", path);
	if (!strcmp(c->store, "etcd")) {
		rc = check_etcd(c, path, e);
		if (rc)
			return rc;
	}
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
