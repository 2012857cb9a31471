/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library for LD_PRELOAD that makes the machine poorer than it is, for tests of what vand does
 * then. VAN_DENY lists what is not to be had:
 *
 *   vnet-hdr, multi-queue   of the TUN driver: old ones ignore the flag
 *   uso, tso                UDP super-frames, or all of them, on a TAP
 *   udp-segment, udp-gro    of UDP sockets
 *   gso-send                a UDP_SEGMENT send fails with EIO, as through a device without
 *                           transmit checksums
 *   reuseport-program       a BPF program for a port group
 *   aes                     AES instructions, as far as libraries other than OpenSSL look for them
 *                           (that one has OPENSSL_ia32cap)
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static bool denied(const char *what)
{
	const char *list = getenv("VAN_DENY");
	size_t len = strlen(what);

	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, what, len) == 0 && (at[len] == '\0' || at[len] == ','))
			return true;
	}
	return false;
}

static int fail(int error)
{
	errno = error;
	return -1;
}

/* The function that this library stands in front of. */
#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

static short unknown_flags(void)
{
	return (short)((denied("vnet-hdr") ? IFF_VNET_HDR : 0) |
		       (denied("multi-queue") ? IFF_MULTI_QUEUE : 0));
}

int ioctl(int fd, unsigned long request, ...)
{
	const unsigned long udp = TUN_F_USO4 | TUN_F_USO6;
	void *argument;
	va_list ap;
	int rc;

	va_start(ap, request);
	argument = va_arg(ap, void *);
	va_end(ap);
	switch (request) {
	case TUNSETIFF:
		((struct ifreq *)argument)->ifr_flags &= (short)~unknown_flags();
		break;
	case TUNSETOFFLOAD:
		if (denied("tso") || (denied("uso") && (unsigned long)argument & udp))
			return fail(EINVAL);
		break;
	}
	rc = REAL(ioctl)(fd, request, argument);
	if (rc == 0 && request == TUNGETFEATURES)
		*(unsigned int *)argument &= ~(unsigned int)unknown_flags();
	return rc;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	if (level == IPPROTO_UDP && ((option == UDP_SEGMENT && denied("udp-segment")) ||
					    (option == UDP_GRO && denied("udp-gro"))))
		return fail(ENOPROTOOPT);
	if (level == SOL_SOCKET && option == SO_ATTACH_REUSEPORT_CBPF &&
		denied("reuseport-program"))
		return fail(ENOPROTOOPT);
	return REAL(setsockopt)(fd, level, option, value, len);
}

static bool is_gso(const struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT)
			return true;
	}
	return false;
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	if (is_gso(msg) && denied("gso-send"))
		return fail(EIO);
	return REAL(sendmsg)(fd, msg, flags);
}

/* As the kernel: an error shows only if it is the first message's. */
int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	unsigned int good = 0;

	if (!denied("gso-send"))
		return REAL(sendmmsg)(fd, messages, count, flags);
	while (good < count && !is_gso(&messages[good].msg_hdr))
		good++;
	if (good == 0 && count > 0)
		return fail(EIO);
	return REAL(sendmmsg)(fd, messages, good, flags);
}

int crypto_aead_aes256gcm_is_available(void);
int crypto_aead_aes256gcm_is_available(void)
{
	return denied("aes") ? 0 : REAL(crypto_aead_aes256gcm_is_available)();
}

#ifdef HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>

IMB_MGR *alloc_mb_mgr(uint64_t flags)
{
	return REAL(alloc_mb_mgr)(flags | (denied("aes") ? IMB_FLAG_AESNI_OFF : 0));
}
#endif
