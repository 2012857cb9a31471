/* SPDX-License-Identifier: Apache-2.0 */
/* vand.conf: the options, and nothing else. */
#ifndef VAND_CONFIG_H
#define VAND_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/confschema.h"
#include "lib/err.h"

struct vand_config {
	char *state_dir;
	char *control_socket;
	int64_t port;                  /* 0: any free one, kept across restarts in the state */
	struct conf_strings advertise; /* "IP[:PORT]" */
	int64_t workers;               /* 0: one for each core */
	int64_t busy_poll_us;
	char *psk_file; /* 64 hexadecimal digits or 44 base64 characters */
	char *log_level;
	char *log_format;
	char *cipher;     /* "auto" or a back end's name */
	bool tap_offload; /* the off switches of design §3.1 */
	bool udp_gso;
	bool udp_gro;
	bool udp_super_frames; /* write joined UDP datagrams to the TAP where the kernel takes them
				*/
	bool pmtu_discovery;
	int64_t pmtu_raise_s; /* between looks whether a path takes more */
	bool ecn;
	bool copy_dscp;
	int64_t rekey_after_s;
	int64_t max_stale_s; /* stop forwarding when the registry was away that long; 0: never */
};

extern const struct conf_schema vand_config_schema;

/* Loads and checks (end points parse, files named exist). Released with
 * conf_free(&vand_config_schema, …). */
int vand_config_load(const char *path, struct vand_config *ret_config, struct err *e);

/* The pre-shared key of psk_file, or zeroes when none is set. The caller wipes it. */
int vand_config_psk(const struct vand_config *config, uint8_t ret_psk[32], struct err *e);

#endif
