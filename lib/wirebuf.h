/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds-checked cursors over bytes from or for the wire. The error is sticky: read or write a
 * whole message, then ask once whether it fitted. A failed read returns zeroes and moves nothing.
 */
#ifndef LIB_WIREBUF_H
#define LIB_WIREBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wire_reader {
	const uint8_t *pos;
	const uint8_t *end;
	bool failed;
};

struct wire_writer {
	uint8_t *start;
	uint8_t *pos;
	uint8_t *end;
	bool failed;
};

static inline struct wire_reader wire_reader(const void *data, size_t len)
{
	const uint8_t *p = data;

	return (struct wire_reader){.pos = p, .end = p + len};
}

static inline size_t wire_left(const struct wire_reader *r)
{
	return (size_t)(r->end - r->pos);
}

/* The next len bytes in place, or NULL when there are fewer. */
static inline const uint8_t *wire_take(struct wire_reader *r, size_t len)
{
	const uint8_t *p = r->pos;

	if (r->failed || wire_left(r) < len) {
		r->failed = true;
		return NULL;
	}
	r->pos += len;
	return p;
}

static inline void wire_get(struct wire_reader *r, void *dst, size_t len)
{
	const uint8_t *p = wire_take(r, len);

	if (p)
		memcpy(dst, p, len);
	else
		memset(dst, 0, len);
}

static inline uint8_t wire_get_u8(struct wire_reader *r)
{
	uint8_t b[1];

	wire_get(r, b, sizeof(b));
	return b[0];
}

static inline uint16_t wire_get_be16(struct wire_reader *r)
{
	uint8_t b[2];

	wire_get(r, b, sizeof(b));
	return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t wire_get_be32(struct wire_reader *r)
{
	uint8_t b[4];

	wire_get(r, b, sizeof(b));
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline uint64_t wire_get_be64(struct wire_reader *r)
{
	uint64_t high = wire_get_be32(r);

	return high << 32 | wire_get_be32(r);
}

static inline uint32_t wire_get_le32(struct wire_reader *r)
{
	uint8_t b[4];

	wire_get(r, b, sizeof(b));
	return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

/* True when everything was read without running over the end, and nothing is left. */
static inline bool wire_done(const struct wire_reader *r)
{
	return !r->failed && r->pos == r->end;
}

static inline struct wire_writer wire_writer(void *data, size_t len)
{
	uint8_t *p = data;

	return (struct wire_writer){.start = p, .pos = p, .end = p + len};
}

static inline size_t wire_written(const struct wire_writer *w)
{
	return (size_t)(w->pos - w->start);
}

/* Room for len bytes to be filled in by the caller, or NULL when there is none. */
static inline uint8_t *wire_reserve(struct wire_writer *w, size_t len)
{
	uint8_t *p = w->pos;

	if (w->failed || (size_t)(w->end - w->pos) < len) {
		w->failed = true;
		return NULL;
	}
	w->pos += len;
	return p;
}

static inline void wire_put(struct wire_writer *w, const void *src, size_t len)
{
	uint8_t *p = wire_reserve(w, len);

	if (p && len)
		memcpy(p, src, len);
}

static inline void wire_put_u8(struct wire_writer *w, uint8_t v)
{
	wire_put(w, &v, 1);
}

static inline void wire_put_be16(struct wire_writer *w, uint16_t v)
{
	uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};

	wire_put(w, b, sizeof(b));
}

static inline void wire_put_be32(struct wire_writer *w, uint32_t v)
{
	uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

	wire_put(w, b, sizeof(b));
}

static inline void wire_put_be64(struct wire_writer *w, uint64_t v)
{
	wire_put_be32(w, (uint32_t)(v >> 32));
	wire_put_be32(w, (uint32_t)v);
}

static inline void wire_put_le32(struct wire_writer *w, uint32_t v)
{
	uint8_t b[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};

	wire_put(w, b, sizeof(b));
}

#endif
