/* SPDX-License-Identifier: Apache-2.0 */
/* Scope-bound clean-up for control code: `CLEANUP(free) char *text = NULL;`. */
#ifndef LIB_CLEANUP_H
#define LIB_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

/* CLEANUP(free), CLEANUP(close), CLEANUP(fclose); modules add cleanup_NAME() of their own. */
#define CLEANUP(name) __attribute__((cleanup(cleanup_##name)))

/* Takes a pointer out of the reach of its clean-up: `return STEAL(text);` */
#define STEAL(p)                             \
	({                                   \
		__typeof__(p) stolen_ = (p); \
		(p) = NULL;                  \
		stolen_;                     \
	})

#endif
