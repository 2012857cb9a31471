/* SPDX-License-Identifier: Apache-2.0 */
/* The back ends, for seal.c's list alone. Everybody else goes through seal.h. */
#ifndef VAND_SEAL_BACKENDS_H
#define VAND_SEAL_BACKENDS_H

#include "vand/seal.h"

#ifdef HAVE_IPSEC_MB
extern const struct seal_backend seal_ipsec_mb;
#endif
extern const struct seal_backend seal_openssl;
extern const struct seal_backend seal_sodium;

#endif
