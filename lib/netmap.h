/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The netmap: all that the registry tells one node. JSON on the wire and on disk:
 *
 *   { "format": 1,
 *     "mesh": HEX32, "console": ID, "generation": HEX16, "number": N,
 *     "hash": HEX64,                                                -- lib/netmap_delta.h
 *     "consoles": [ { "id": ID, "url": "https://HOST:PORT", "pins": ["sha256//BASE64", …] } ],
 *     "node": { "id": ID, "name": NAME, "public_key": BASE64, "flags": ["nat", …] },
 *     "disabled": true,                      -- the node is: there are no networks; else absent
 *     "waiting": [NAME, …],                  -- networks in which it waits for approval; or absent
 *     "networks": [ {
 *         "id": ID, "name": NAME, "van_id": 1…16777215,
 *         "cidr": "172.16.1.0/24", "cidr6": CIDR | null,
 *         "encryption": "aes-256-gcm" | "integrity", "mtu": 1280…9000,
 *         "macs": [MAC], "ips": ["172.16.1.1/24", …],              -- this node's own
 *         "peers": [ { "id": ID, "name": NAME, "public_key": BASE64,
 *                      "teps": ["192.0.2.1:4826", …], "macs": [MAC], "ips": [CIDR], "flags": [] }
 * ],
 *         "gateways", "floating", "cloak", …                        -- lib/netmap_policy.h
 * } ] }
 *
 * Its revision is (generation, number), written "HEX16.N". Unknown members are ignored, so that a
 * newer console may say more.
 */
#ifndef LIB_NETMAP_H
#define LIB_NETMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <json-c/json.h>
#include "lib/addr.h"
#include "lib/err.h"
#include "lib/key.h"
#include "lib/netmap_policy.h"

#define NETMAP_FORMAT            1
#define NETMAP_ID_MAX            40 /* characters */
#define NETMAP_NAME_MAX          63 /* characters: a DNS label */
#define NETMAP_MESH_LEN          16
#define NETMAP_WAITING_MAX       16
#define NETMAP_VAN_ID_MAX        0xffffff
#define NETMAP_MTU_MIN           1280
#define NETMAP_MTU_MAX           9000
#define NETMAP_MTU_DEFAULT       1360
#define NETMAP_NETWORKS_MAX      1024
#define NETMAP_PEERS_MAX         65536 /* in a network */
#define NETMAP_TEPS_MAX          8
#define NETMAP_MACS_MAX          8
#define NETMAP_IPS_MAX           16
#define NETMAP_CONSOLES_MAX      16
#define NETMAP_PINS_MAX          4  /* of a console */
#define NETMAP_PIN_TEXT_LEN      53 /* "sha256//" and 44 characters of base64, with the NUL */
#define NETMAP_URL_MAX           255
#define NETMAP_REVISION_TEXT_LEN 40

enum netmap_encryption { NETMAP_AES_256_GCM, NETMAP_INTEGRITY };

enum netmap_flag {
	NETMAP_NAT = 1 << 0,    /* seen by the console from an address that is not its own */
	NETMAP_BRIDGE = 1 << 1, /* may source MACs that are not fixed elsewhere */
};

struct netmap_peer {
	char id[NETMAP_ID_MAX + 1];
	char name[NETMAP_NAME_MAX + 1];
	struct key public_key;
	struct endpoint teps[NETMAP_TEPS_MAX];
	size_t tep_count;
	struct mac macs[NETMAP_MACS_MAX];
	size_t mac_count;
	struct cidr ips[NETMAP_IPS_MAX];
	size_t ip_count;
	unsigned int flags; /* of enum netmap_flag */
};

struct netmap_network {
	char id[NETMAP_ID_MAX + 1];
	char name[NETMAP_NAME_MAX + 1];
	uint32_t van_id;
	struct cidr cidr;
	struct cidr cidr6; /* family AF_UNSPEC: none */
	enum netmap_encryption encryption;
	uint16_t mtu;
	struct mac macs[NETMAP_MACS_MAX];
	size_t mac_count;
	struct cidr ips[NETMAP_IPS_MAX]; /* address with the network's prefix length */
	size_t ip_count;
	struct netmap_peer *peers; /* heap */
	size_t peer_count;
	struct netmap_policy policy;
};

/* A console of this mesh. */
struct netmap_console {
	char id[NETMAP_ID_MAX + 1]; /* that requests to it are signed for; "": not known */
	char url[NETMAP_URL_MAX + 1];
	char pins[NETMAP_PINS_MAX][NETMAP_PIN_TEXT_LEN]; /* of the keys that it may have */
	size_t pin_count;
};

struct netmap {
	uint8_t mesh[NETMAP_MESH_LEN];
	char console[NETMAP_ID_MAX + 1];
	uint64_t generation;
	uint64_t number;
	char node_id[NETMAP_ID_MAX + 1];
	char node_name[NETMAP_NAME_MAX + 1];
	struct key node_key;
	unsigned int node_flags;
	bool disabled;
	char waiting[NETMAP_WAITING_MAX][NETMAP_NAME_MAX + 1]; /* those beyond are left out */
	size_t waiting_count;
	struct netmap_console consoles[NETMAP_CONSOLES_MAX];
	size_t console_count;            /* 0: it does not say */
	struct netmap_network *networks; /* heap */
	size_t network_count;
};

/*
 * Reads and checks a netmap: every bound above; ids and VAN ids unique, MACs and peers in their
 * network; one key to a node and one node to a key; MACs unicast; addresses inside their network.
 * Flags that it does not know are ignored. Errors are -VAN_E_INVALID and "POINTER: what is wrong".
 * *ret_map is heap, for netmap_free().
 */
int netmap_from_json(struct json_object *o, struct netmap **ret_map, struct err *e);
struct json_object *netmap_to_json(const struct netmap *map);
void netmap_free(struct netmap *map);
/* What a network has on the heap; the network itself is part of an array. */
void netmap_network_done(struct netmap_network *network);
static inline void cleanup_netmap(struct netmap **map)
{
	netmap_free(*map);
}

/*
 * The consoles in the member "consoles" of an object (a netmap, an enrolment's answer): at most
 * NETMAP_CONSOLES_MAX of them, those beyond are left out. None when it is absent. where: as for
 * json_get_array().
 */
int netmap_consoles_read(struct json_object *o, const char *where,
	struct netmap_console ret_consoles[NETMAP_CONSOLES_MAX], size_t *ret_count, struct err *e);
struct json_object *netmap_consoles_write(const struct netmap_console *consoles, size_t count);

const char *netmap_encryption_name(enum netmap_encryption enc);
bool netmap_encryption_parse(const char *text, enum netmap_encryption *ret_enc);

/* The words of enum netmap_flag; NULL for what is none. */
const char *netmap_flag_name(enum netmap_flag flag);
bool netmap_flag_parse(const char *text, enum netmap_flag *ret_flag);

/* "HEX16.N" */
void netmap_revision_format(
	uint64_t generation, uint64_t number, char ret_text[NETMAP_REVISION_TEXT_LEN]);
bool netmap_revision_parse(const char *text, uint64_t *ret_generation, uint64_t *ret_number);

/* A name of a network or node: 1–63 of a–z 0–9 -, not at the ends a hyphen (RFC 1123, lower case).
 */
bool netmap_name_valid(const char *name);

#endif
