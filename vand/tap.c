/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "vand/offload.h"

/* Kernels from 6.2; Debian 12's headers lack them. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static int open_error(const char *ifname, int error, struct err *e)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return err_set(e, -error,
			"/dev/net/tun is missing: load the module (modprobe tun), or give the container the device");
	case EPERM:
	case EACCES:
		return err_set(e, -error,
			"not allowed to make a network device: run vand as root, or with CAP_NET_ADMIN");
	case EBUSY:
		return err_set(e, -EEXIST,
			"the interface name %s is taken: choose another with --ifname", ifname);
	default:
		return err_set(e, -error, "cannot make the network device %s: %s", ifname,
			strerror(error));
	}
}

/* Asks for as much offloading as the kernel gives. UDP super-frames came last, so they go first. */
static void ask_for_offload(struct tap *tap)
{
	const unsigned int tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

	if (ioctl(tap->fd[0], TUNSETOFFLOAD, (unsigned long)(tcp | TUN_F_USO4 | TUN_F_USO6)) == 0) {
		tap->offload = true;
		tap->uso = true;
	} else if (ioctl(tap->fd[0], TUNSETOFFLOAD, (unsigned long)tcp) == 0) {
		tap->offload = true;
	}
}

/* Attaches one more descriptor to the device, or makes it. *ifr's name and flags are as the kernel
 * has them afterwards: flags that a driver does not know it ignores. The descriptor or -errno. */
static int open_queue(struct ifreq *ifr)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), error;
	unsigned int known;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, TUNGETFEATURES, &known) == 0)
		ifr->ifr_flags &= (short)(known | IFF_TUN_EXCL);
	if (ioctl(fd, TUNSETIFF, ifr) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

int tap_open(
	struct tap *ret_tap, const char *ifname, unsigned int queues, bool offload, struct err *e)
{
	struct tap tap = {.queues = 0};
	/* One queue is asked for as a plain device: several cost a look-up for each packet. EXCL:
	 * never take over a device that somebody else made and configured. */
	const short flags =
		(short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (queues > 1 ? IFF_MULTI_QUEUE : 0));
	struct ifreq ifr = {.ifr_flags = (short)(flags | IFF_TUN_EXCL)};
	int fd;

	strncpy(ifr.ifr_name, ifname, IFNAMSIZ - 1);
	fd = open_queue(&ifr);
	if (fd < 0)
		return open_error(ifname, -fd, e);
	tap.fd[tap.queues++] = fd;
	memcpy(tap.ifname, ifr.ifr_name, IFNAMSIZ);
	tap.ifindex = (int)if_nametoindex(tap.ifname);
	tap.bare = !(ifr.ifr_flags & IFF_VNET_HDR);
	while (tap.queues < queues) {
		ifr.ifr_flags = flags;
		fd = open_queue(&ifr);
		if (fd < 0)
			break;
		tap.fd[tap.queues++] = fd;
	}
	if (offload && !tap.bare)
		ask_for_offload(&tap);
	*ret_tap = tap;
	return 0;
}

void tap_close(struct tap *tap)
{
	while (tap->queues > 0)
		close(tap->fd[--tap->queues]);
}

int tap_probe(bool *ret_vnet, bool *ret_uso, struct err *e)
{
	struct tap tap;
	int rc = tap_open(&tap, "vanprobe%d", 1, true, e); /* the kernel fills in a free number */

	if (rc < 0)
		return rc;
	*ret_vnet = !tap.bare;
	*ret_uso = tap.uso;
	tap_close(&tap);
	return 0;
}

ssize_t tap_read(const struct tap *tap, unsigned int queue, struct virtio_net_hdr *ret_vnet,
	void *frame, size_t size)
{
	struct iovec iov[2] = {
		{.iov_base = ret_vnet, .iov_len = sizeof(*ret_vnet)},
		{.iov_base = frame, .iov_len = size},
	};
	ssize_t n;

	if (tap->bare) {
		memset(ret_vnet, 0, sizeof(*ret_vnet));
		n = read(tap->fd[queue], frame, size);
		return n < 0 ? -errno : n;
	}
	n = readv(tap->fd[queue], iov, 2);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(*ret_vnet))
		return 0;
	return n - (ssize_t)sizeof(*ret_vnet);
}

/* To a TAP without vnet headers: what the header asks for is done here. */
static int write_bare(int fd, const struct iovec *iov)
{
	const struct virtio_net_hdr *vnet = iov->iov_base;
	uint8_t *frame = (uint8_t *)iov->iov_base + sizeof(*vnet);
	const size_t len = iov->iov_len - sizeof(*vnet);

	if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
		offload_complete_checksum(frame, len, vnet->csum_start, vnet->csum_offset) < 0)
		return -EINVAL;
	return write(fd, frame, len) < 0 ? -errno : 0;
}

int tap_write(
	const struct tap *tap, unsigned int queue, const struct iovec *iov, unsigned int count)
{
	if (tap->bare)
		return write_bare(tap->fd[queue], iov);
	if (writev(tap->fd[queue], iov, (int)count) < 0)
		return -errno;
	return 0;
}
