/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/caps.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned int kept[] = {CAP_NET_ADMIN};

static bool is_kept(unsigned int cap)
{
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (kept[i] == cap)
			return true;
	}
	return false;
}

/* As much as we may have. Failing is no harm: keys are then in memory that could be swapped, which
 * is found out, and said, when they are allocated. */
static void lift_memlock(void)
{
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};

	if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0)
		return;
	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_MEMLOCK, &limit);
}

/* The bounding set goes first: dropping from it takes CAP_SETPCAP. Who is not root lacks that, and
 * has little to drop. */
static int drop_bounding(void)
{
	for (unsigned int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (is_kept(cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return errno == EPERM ? 0 : -errno;
	}
	return 0;
}

static int drop_sets(bool *ret_net_admin)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	uint32_t keep[2] = {0};

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		keep[CAP_TO_INDEX(kept[i])] |= CAP_TO_MASK(kept[i]);
	for (size_t i = 0; i < 2; i++) {
		data[i].permitted &= keep[i];
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	*ret_net_admin = data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN);
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int caps_drop(struct err *e)
{
	bool net_admin = false;
	int rc;

	lift_memlock();
	rc = drop_bounding();
	if (rc == 0)
		rc = drop_sets(&net_admin);
	if (rc < 0)
		return err_set(e, rc, "cannot drop capabilities: %s", err_name(rc));
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
		rc = -errno;
		return err_set(e, rc, "cannot give up privileges: %s", err_name(rc));
	}
	if (!net_admin)
		return err_set(e, -EPERM,
			"vand needs CAP_NET_ADMIN to make network interfaces: start it as root");
	return 0;
}
