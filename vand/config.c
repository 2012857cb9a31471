/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/config.h"

#include <ctype.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "lib/addr.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/hash.h"
#include "lib/key.h"
#include "lib/netmap.h"
#include "vand/message.h"

#define FIELD(name) offsetof(struct vand_config, name)

static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const log_formats[] = {"text", "json", NULL};
static const char *const ciphers[] = {"auto", "ipsec-mb", "sodium", "openssl", NULL};

static const struct conf_option options[] = {
	{.name = "state_dir",
		.type = CONF_STRING,
		.offset = FIELD(state_dir),
		.min = 1,
		.max = 4000,
		.default_text = "\"/var/lib/van/vand\"",
		.help = "Directory for the node's keys, its membership and the last netmap. Made, "
			"readable by its owner only, when it does not exist. One vand uses it at a "
			"time."},
	{.name = "control_socket",
		.type = CONF_STRING,
		.offset = FIELD(control_socket),
		.min = 1,
		.max = 107,
		.default_text = "\"/run/van/vand.sock\"",
		.help = "Unix socket on which vand listens for vanctl."},
	{.name = "port",
		.type = CONF_INT,
		.offset = FIELD(port),
		.min = 0,
		.max = 65535,
		.default_text = "4826",
		.help = "UDP port for traffic between nodes. 0 picks a free one and keeps it across "
			"restarts. Must be open towards the other nodes in firewalls and security "
			"groups."},
	{.name = "advertise",
		.type = CONF_STRINGS,
		.offset = FIELD(advertise),
		.default_text = "[]",
		.help = "Addresses, \"IP\" or \"IP:PORT\" (\"[IPv6]:PORT\"), at which other nodes reach "
			"this one, instead of its own: for a node behind a static port forwarding or "
			"a provider's one-to-one NAT. Without a port: the UDP port in use."},
	{.name = "workers",
		.type = CONF_INT,
		.offset = FIELD(workers),
		.min = 1,
		.max = MESSAGE_WORKERS_MAX,
		.word = "auto",
		.word_value = 0,
		.default_text = "\"auto\"",
		.help = "Threads that carry frames. \"auto\": one for each core that vand may run on, "
			"at most 8. A flow stays with one of them."},
	{.name = "busy_poll_us",
		.type = CONF_INT,
		.offset = FIELD(busy_poll_us),
		.min = 0,
		.max = 1000000,
		.default_text = "0",
		.help = "Microseconds for which a thread that has carried something looks for more "
			"before it sleeps. Spares the next frame the waking-up, and costs a core for "
			"as long."},
	{.name = "psk_file",
		.type = CONF_STRING,
		.offset = FIELD(psk_file),
		.min = 1,
		.max = 4000,
		.help = "File with a pre-shared key of 32 bytes (64 hexadecimal digits or 44 base64 "
			"characters) that is mixed into every handshake; the console never learns "
			"it. All nodes of a mesh have the same one or none."},
	{.name = "log_level",
		.type = CONF_STRING,
		.offset = FIELD(log_level),
		.default_text = "\"info\"",
		.choices = log_levels,
		.help = "How much is logged on standard error."},
	{.name = "log_format",
		.type = CONF_STRING,
		.offset = FIELD(log_format),
		.default_text = "\"text\"",
		.choices = log_formats,
		.help = "How it is logged: lines of text, or a JSON object a line with the members time, "
			"level, program and message."},
	{.name = "cipher",
		.type = CONF_STRING,
		.offset = FIELD(cipher),
		.default_text = "\"auto\"",
		.choices = ciphers,
		.help = "Library that does AES-256-GCM; all of them speak the same protocol. \"auto\" "
			"takes the fastest that this CPU can run."},
	{.name = "tap_offload",
		.type = CONF_BOOL,
		.offset = FIELD(tap_offload),
		.default_text = "true",
		.help = "Exchange super-frames of up to 64 KB with the kernel on TAP devices. An off "
			"switch for kernels that accept this and fail later."},
	{.name = "udp_gso",
		.type = CONF_BOOL,
		.offset = FIELD(udp_gso),
		.default_text = "true",
		.help = "Hand many datagrams to the kernel in one send (UDP_SEGMENT)."},
	{.name = "udp_gro",
		.type = CONF_BOOL,
		.offset = FIELD(udp_gro),
		.default_text = "true",
		.help = "Take many datagrams from the kernel in one receive (UDP_GRO)."},
	{.name = "udp_super_frames",
		.type = CONF_BOOL,
		.offset = FIELD(udp_super_frames),
		.default_text = "true",
		.help = "Join equal-sized UDP datagrams of one flow into one write to the TAP, where "
			"the kernel (6.2 or newer) takes them."},
	{.name = "pmtu_discovery",
		.type = CONF_BOOL,
		.offset = FIELD(pmtu_discovery),
		.default_text = "true",
		.help = "Find out with probes how large a packet each path takes, and fit frames to "
			"it. Without it, what a router on the way finds too large is lost."},
	{.name = "pmtu_raise_s",
		.type = CONF_INT,
		.offset = FIELD(pmtu_raise_s),
		.min = 5,
		.max = 86400,
		.default_text = "600",
		.help = "Seconds between two looks whether a path in use takes larger packets than "
			"it did."},
	{.name = "ecn",
		.type = CONF_BOOL,
		.offset = FIELD(ecn),
		.default_text = "true",
		.help = "Carry explicit congestion notification through the tunnel (RFC 6040): a "
			"router on the way marks instead of dropping, and its mark reaches the "
			"application. Off for networks that misuse these bits."},
	{.name = "copy_dscp",
		.type = CONF_BOOL,
		.offset = FIELD(copy_dscp),
		.default_text = "false",
		.help = "Copy the DSCP (class of service) of packets to the outer header, for an "
			"underlay that honours it. It shows outside what kind of traffic is inside, "
			"and classes may overtake each other."},
	{.name = "rekey_after_s",
		.type = CONF_INT,
		.offset = FIELD(rekey_after_s),
		.min = 1,
		.max = 120,
		.default_text = "120",
		.help = "Seconds after which a session gets new keys."},
	{.name = "max_stale_s",
		.type = CONF_INT,
		.offset = FIELD(max_stale_s),
		.min = 0,
		.max = 365 * 86400,
		.default_text = "0",
		.help = "Stop forwarding when the console was out of reach for this many seconds: "
			"until it is back, such a node cannot know whom the console has removed. 0: "
			"go on for as long as it takes."},
	{0},
};

const struct conf_schema vand_config_schema = {
	.program = "vand",
	.options = options,
	.struct_size = sizeof(struct vand_config),
};

static int check_advertise(const struct vand_config *config, struct err *e)
{
	for (size_t i = 0; i < config->advertise.count; i++) {
		const char *text = config->advertise.items[i];
		struct endpoint ep;
		struct ip ip;

		if (!endpoint_parse(text, MESSAGE_PORT, &ep))
			return err_set(e, -VAN_E_CONFIG,
				"advertise: '%s' is not an address: write \"192.0.2.1\", "
				"\"192.0.2.1:4826\" or \"[2001:db8::1]:4826\"",
				text);
		ip = endpoint_ip(&ep);
		if (ip_is_unspecified(&ip) || ip_is_multicast(&ip) || ip_is_loopback(&ip) ||
			ip_is_link_local(&ip))
			return err_set(e, -VAN_E_CONFIG,
				"advertise: '%s' is not an address at which another node can reach "
				"this one",
				text);
	}
	if (config->advertise.count > NETMAP_TEPS_MAX)
		return err_set(e, -VAN_E_CONFIG, "advertise: %zu addresses, at most %d are used",
			config->advertise.count, NETMAP_TEPS_MAX);
	return 0;
}

int vand_config_psk(const struct vand_config *config, uint8_t ret_psk[32], struct err *e)
{
	char *text;
	uint8_t psk[32];
	struct key key;
	size_t len;
	bool ok;
	int rc;

	if (!config->psk_file) {
		memset(ret_psk, 0, sizeof(psk));
		return 0;
	}
	rc = file_read(config->psk_file, 1024, &text, &len, e);
	if (rc < 0)
		return err_prefix(e, rc, "psk_file");
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	ok = hash_unhex(text, psk, sizeof(psk));
	if (!ok && key_parse(text, &key)) {
		memcpy(psk, key.bytes, sizeof(psk));
		ok = true;
	}
	sodium_memzero(text, len);
	free(text);
	sodium_memzero(&key, sizeof(key));
	if (ok && sodium_is_zero(psk, sizeof(psk)))
		rc = err_set(e, -VAN_E_CONFIG,
			"psk_file %s: a key of zeroes protects nothing; make one with 'openssl rand "
			"-hex 32'",
			config->psk_file);
	else if (!ok)
		rc = err_set(e, -VAN_E_CONFIG,
			"psk_file %s: not a key: one line of 64 hexadecimal digits or 44 base64 "
			"characters is needed, such as 'openssl rand -hex 32' makes",
			config->psk_file);
	else
		memcpy(ret_psk, psk, sizeof(psk));
	sodium_memzero(psk, sizeof(psk));
	return rc;
}

int vand_config_load(const char *path, struct vand_config *ret_config, struct err *e)
{
	struct vand_config config;
	uint8_t psk[32];
	int rc = conf_load(&vand_config_schema, path, &config, e);

	if (rc < 0)
		return rc;
	rc = check_advertise(&config, e);
	if (rc == 0) {
		rc = vand_config_psk(&config, psk, e);
		sodium_memzero(psk, sizeof(psk));
	}
	if (rc < 0) {
		conf_free(&vand_config_schema, &config);
		return err_prefix(e, rc, "%s", path);
	}
	*ret_config = config;
	return 0;
}
