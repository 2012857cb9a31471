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
#include "vand/message.h"

#define TAP_QUEUES_MAX MESSAGE_WORKERS_MAX

struct tap {
	unsigned int queues;
	int fd[TAP_QUEUES_MAX]; /* one for each worker; a flow comes out of the queue that it was
				 * last written to */
	int ifindex;
	char ifname[IFNAMSIZ];
	bool bare;    /* an old driver, without virtio_net_hdr: no super-frames either */
	bool offload; /* TCP super-frames and partial checksums, both ways */
	bool uso;     /* UDP super-frames too (kernels from 6.2): reading and writing */
};

/*
 * Makes the device (down, not persistent: it goes with the descriptors) with so many queues, 1 to
 * TAP_QUEUES_MAX; where the kernel gives fewer, ret_tap->queues says so. With `offload`, asks for
 * TCP and, where the kernel has it, UDP super-frames; a kernel that refuses gets less asked.
 * Errors name the remedy: no /dev/net/tun, no CAP_NET_ADMIN, name taken.
 */
int tap_open(
	struct tap *ret_tap, const char *ifname, unsigned int queues, bool offload, struct err *e);
void tap_close(struct tap *tap);

/*
 * Makes a device and removes it again, in order to know before anything else is set up whether we
 * may and what the kernel gives. Errors as tap_open(). *ret_vnet: frames may be written with a
 * virtio_net_hdr, as TCP super-frames for one; *ret_uso: as UDP super-frames too.
 */
int tap_probe(bool *ret_vnet, bool *ret_uso, struct err *e);

/*
 * Reads one frame of at most size bytes from a queue. Returns its length without the vnet header, -EAGAIN when
 * there is none, or -errno (-EBADFD when the device is gone or down: treat as none).
 */
ssize_t tap_read(const struct tap *tap, unsigned int queue, struct virtio_net_hdr *ret_vnet,
	void *frame, size_t size);

/* Writes one frame to a queue; iov[0] begins with the vnet header. Where the TAP takes none, the
 * frame is in iov[0] as a whole, and its checksum is completed there. 0 or -errno. */
int tap_write(
	const struct tap *tap, unsigned int queue, const struct iovec *iov, unsigned int count);

#endif
