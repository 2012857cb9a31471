/* SPDX-License-Identifier: Apache-2.0 */
/* A TAP device: open with offloads, read and write frames with their virtio_net_hdr. */
#ifndef VAND_TAP_H
#define VAND_TAP_H

#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "lib/err.h"

struct tap {
	int fd;
	int ifindex;
	char ifname[IFNAMSIZ];
	bool offload; /* TCP super-frames and partial checksums, both ways */
	bool uso;     /* UDP super-frames too (kernels from 6.2): reading and writing */
};

/*
 * Makes the device (down, not persistent: it goes with the descriptor). With `offload`, asks for
 * TCP and, where the kernel has it, UDP super-frames; a kernel that refuses gets less asked.
 * Errors name the remedy: no /dev/net/tun, no CAP_NET_ADMIN, name taken.
 */
int tap_open(struct tap *ret_tap, const char *ifname, bool offload, struct err *e);
void tap_close(struct tap *tap);

/*
 * Makes a device and removes it again, in order to know before anything else is set up whether we
 * may and what the kernel gives. Errors as tap_open(). *ret_uso: this kernel takes UDP
 * super-frames.
 */
int tap_probe(bool *ret_uso, struct err *e);

/*
 * Reads one frame of at most size bytes. Returns its length without the vnet header, -EAGAIN when
 * there is none, or -errno (-EBADFD when the device is gone or down: treat as none).
 */
ssize_t tap_read(const struct tap *tap, struct virtio_net_hdr *ret_vnet, void *frame, size_t size);

/* Writes one frame; iov[0] begins with the vnet header. 0 or -errno. */
int tap_write(const struct tap *tap, const struct iovec *iov, unsigned int count);

#endif
