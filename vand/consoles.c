/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/consoles.h"

#include <stdio.h>
#include <string.h>
#include "lib/clock.h"

#define PAUSE_MIN_MS      500
#define PAUSE_MAX_MS      30000
#define NEXT_MS           500 /* at most, before the next console is tried */
#define RETURN_MIN_S      10
#define RETURN_MAX_S      600
#define RETRY_AFTER_MAX_S 300

uint64_t consoles_pause_ns(unsigned int n, uint32_t chance)
{
	uint64_t ms = n < 7 ? (uint64_t)PAUSE_MIN_MS << n : PAUSE_MAX_MS;

	if (ms > PAUSE_MAX_MS)
		ms = PAUSE_MAX_MS;
	ms = ms - ms / 4 + chance % (ms / 2 + 1);
	return ms * NS_PER_MS;
}

static size_t find(const struct consoles *c, const char *url)
{
	size_t i;

	for (i = 0; i < c->count && strcmp(c->items[i].url, url) != 0; i++) {
	}
	return i;
}

void consoles_set(struct consoles *c, const struct netmap_console *list, size_t count,
	const struct netmap_console *home)
{
	struct consoles fresh = {.failures = c->failures, .returns = c->returns};
	size_t at;

	for (size_t i = 0; i < count && i < NETMAP_CONSOLES_MAX; i++)
		fresh.items[fresh.count++] = list[i];
	fresh.preferred = find(&fresh, home->url);
	if (fresh.preferred == fresh.count) {
		fresh.items[fresh.count++] = *home;
		fresh.preferred = 0;
	}
	for (size_t i = 0; i < fresh.count; i++) {
		at = find(c, fresh.items[i].url);
		if (at < c->count)
			fresh.not_before_ns[i] = c->not_before_ns[at];
	}
	fresh.current = c->count ? find(&fresh, c->items[c->current].url) : fresh.preferred;
	if (fresh.current == fresh.count)
		fresh.current = fresh.preferred;
	if (fresh.current != fresh.preferred)
		fresh.return_at_ns = c->return_at_ns ? c->return_at_ns : 1;
	*c = fresh;
}

const struct netmap_console *consoles_current(const struct consoles *c)
{
	return c->count ? &c->items[c->current] : NULL;
}

const struct netmap_console *consoles_for_report(struct consoles *c, uint64_t now_ns)
{
	if (!c->count)
		return NULL;
	if (c->current != c->preferred && now_ns >= c->return_at_ns)
		return &c->items[c->preferred];
	return &c->items[c->current];
}

void consoles_retry(struct consoles *c)
{
	c->returns = 0;
	if (c->current != c->preferred)
		c->return_at_ns = 1;
}

static void plan_return(struct consoles *c, uint64_t now_ns, uint32_t chance)
{
	uint64_t s = c->returns < 6 ? (uint64_t)RETURN_MIN_S << c->returns : RETURN_MAX_S;

	if (s > RETURN_MAX_S)
		s = RETURN_MAX_S;
	c->return_at_ns = now_ns + s * NS_PER_S * 3 / 4 + chance % (s / 2 + 1) * NS_PER_S;
}

bool consoles_answered(struct consoles *c, const char *url)
{
	size_t i = find(c, url);

	if (i == c->count)
		return false;
	c->not_before_ns[i] = 0;
	if (i == c->current) {
		c->failures = 0;
		return false;
	}
	if (i != c->preferred)
		return false;
	c->current = i;
	c->failures = c->returns = 0;
	c->return_at_ns = 0;
	return true;
}

/* The next one in the list that may be asked, else the one that may be so first. */
static size_t next_after(const struct consoles *c, size_t at, uint64_t now_ns)
{
	size_t best = at;

	for (size_t k = 1; k <= c->count; k++) {
		size_t i = (at + k) % c->count;

		if (c->not_before_ns[i] <= now_ns)
			return i;
		if (c->not_before_ns[i] < c->not_before_ns[best])
			best = i;
	}
	return best;
}

bool consoles_failed(struct consoles *c, const char *url, unsigned int retry_after_s,
	uint64_t now_ns, uint32_t chance, uint64_t *ret_pause_ns)
{
	size_t i = find(c, url), before = c->current;
	uint64_t pause_ns;

	*ret_pause_ns = 0;
	if (retry_after_s > RETRY_AFTER_MAX_S)
		retry_after_s = RETRY_AFTER_MAX_S;
	if (i < c->count && retry_after_s)
		c->not_before_ns[i] = now_ns + retry_after_s * NS_PER_S;
	if (i != c->current) {
		/* The preferred one is still away; or it is another's news, of before a change. */
		if (i == c->preferred && i < c->count) {
			c->returns++;
			plan_return(c, now_ns, chance);
		}
		return false;
	}
	c->failures++;
	c->current = next_after(c, before, now_ns);
	pause_ns = c->failures % c->count == 0
			   ? consoles_pause_ns((unsigned int)(c->failures / c->count) - 1, chance)
			   : chance % (NEXT_MS + 1) * NS_PER_MS;
	if (c->not_before_ns[c->current] > now_ns + pause_ns)
		pause_ns = c->not_before_ns[c->current] - now_ns;
	if (c->current == c->preferred)
		c->return_at_ns = 0;
	else if (before == c->preferred || !c->return_at_ns)
		plan_return(c, now_ns, chance);
	*ret_pause_ns = pause_ns;
	return c->current != before;
}

void consoles_pins(const struct netmap_console *console, char ret_text[CONSOLES_PINS_TEXT])
{
	size_t len = 0;

	ret_text[0] = '\0';
	for (size_t i = 0; i < console->pin_count; i++)
		len += (size_t)snprintf(ret_text + len, CONSOLES_PINS_TEXT - len, "%s%s",
			i ? ";" : "", console->pins[i]);
}

bool consoles_know_pin(const struct consoles *c, const char *pin)
{
	for (size_t i = 0; i < c->count; i++)
		for (size_t k = 0; k < c->items[i].pin_count; k++)
			if (strcmp(c->items[i].pins[k], pin) == 0)
				return true;
	return false;
}
