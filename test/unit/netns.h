/* SPDX-License-Identifier: Apache-2.0 */
/* A network namespace of the test's own, and a look at what is in it through other means than ours.
 */
#ifndef TEST_UNIT_NETNS_H
#define TEST_UNIT_NETNS_H

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/addr.h"

/* Moves this thread into a new namespace whose loopback is up. False, and why on standard output,
 * where that, TAP devices or ip(8) are not to be had. */
static inline bool netns_enter(void)
{
	if (access("/dev/net/tun", R_OK | W_OK) < 0) {
		printf("skipped: no /dev/net/tun\n");
		return false;
	}
	if (unshare(CLONE_NEWNET) < 0) {
		printf("skipped: may not make a network namespace (not root)\n");
		return false;
	}
	if (system("ip link set lo up") != 0) {
		printf("skipped: no ip(8)\n");
		return false;
	}
	return true;
}

/* Runs an ip(8) command; its failure is the test's. */
static inline void netns_ip(const char *arguments)
{
	char command[256];

	snprintf(command, sizeof(command), "ip %s", arguments);
	if (system(command) != 0)
		fail_msg("%s", command);
}

/* 0 when there is no such interface. */
static inline int netns_mtu(const char *ifname)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;
	struct ifreq ifr = {0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	rc = ioctl(fd, SIOCGIFMTU, &ifr);
	close(fd);
	return rc < 0 ? 0 : ifr.ifr_mtu;
}

static inline bool netns_has_mac(const char *ifname, const char *text)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;
	struct ifreq ifr = {0};
	struct mac mac;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	rc = ioctl(fd, SIOCGIFHWADDR, &ifr);
	close(fd);
	return rc == 0 && mac_parse(text, &mac) && memcmp(ifr.ifr_hwaddr.sa_data, mac.b, 6) == 0;
}

static inline bool netns_is_up(const char *ifname)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;
	struct ifreq ifr = {0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	rc = ioctl(fd, SIOCGIFFLAGS, &ifr);
	close(fd);
	return rc == 0 && ifr.ifr_flags & IFF_UP;
}

/* Does the interface have this address with this prefix? */
static inline bool netns_has_address(const char *ifname, const char *cidr_text)
{
	struct ifaddrs *list, *it;
	struct cidr cidr;
	bool found = false;

	if (!cidr_parse(cidr_text, &cidr) || getifaddrs(&list) < 0)
		abort();
	for (it = list; it; it = it->ifa_next) {
		const void *address, *mask;
		size_t len = cidr.ip.family == AF_INET ? 4 : 16;
		unsigned int bits = 0;

		if (!it->ifa_addr || it->ifa_addr->sa_family != cidr.ip.family ||
			strcmp(it->ifa_name, ifname) != 0)
			continue;
		if (len == 4) {
			address = &((struct sockaddr_in *)(void *)it->ifa_addr)->sin_addr;
			mask = &((struct sockaddr_in *)(void *)it->ifa_netmask)->sin_addr;
		} else {
			address = &((struct sockaddr_in6 *)(void *)it->ifa_addr)->sin6_addr;
			mask = &((struct sockaddr_in6 *)(void *)it->ifa_netmask)->sin6_addr;
		}
		for (size_t i = 0; i < len; i++)
			bits += (unsigned int)__builtin_popcount(((const uint8_t *)mask)[i]);
		found |= memcmp(address, cidr.ip.b, len) == 0 && bits == cidr.prefix;
	}
	freeifaddrs(list);
	return found;
}

#endif
