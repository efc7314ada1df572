/* SPDX-License-Identifier: MIT */
/*
 * Rows of requests: written by the loop of one worker, read by anybody without stopping it.
 *
 * A row is a seqlock. `seq` is odd while the texts change; a reader that saw it odd, or not the
 * same before and after, tries again. All that is written in between are words stored with release
 * and loaded with acquire: then no fence is needed (which thread sanitizers do not understand), and
 * on x86 each is a plain move. Why it is enough: a reader whose load met a word of a newer writing
 * has, by that acquire, seen the odd `seq` stored before it, so its second look at `seq` differs.
 *
 * The state changes and the row is given up by one store of `about`, which needs no seqlock. A
 * writer killed half-way leaves an odd `seq`: unreadable, until the next one writes the row.
 */
#include "shm/shm.h"

#include <string.h>

#include "base/check.h"

#define READ_TRIES 32 /* a begin takes some 20 ns: only a writer that is not running exceeds it */

const char *shm_row_state_name(uint32_t state)
{
	static const char *const name[] = {
#define SHM_ROW_STATE(sym, word) word,
#include "shm/row_states.def"
#undef SHM_ROW_STATE
	};

	return state < SHM_ROW_STATES ? name[state] : "unknown";
}

static uint32_t about(uint32_t state, size_t id_len, size_t method_len, size_t path_len)
{
	return state | (uint32_t)id_len << 8 | (uint32_t)method_len << 16 |
	       (uint32_t)path_len << 24;
}
_Static_assert(SHM_ROW_ID < 256 && SHM_ROW_METHOD < 256 && SHM_ROW_PATH < 256, "one byte each");

/* The last 1 to 7 bytes of a text as a word filled up with zeros, without a call. */
static uint64_t last_word(const char *p, size_t n)
{
	uint32_t a, b;
	uint16_t c, d;

	if (n >= 4) {
		memcpy(&a, p, 4);
		memcpy(&b, p + n - 4, 4);
		return a | (uint64_t)b << (8 * (n - 4)); /* bytes in both are the same */
	}
	if (n == 1)
		return (unsigned char)*p;
	memcpy(&c, p, 2);
	memcpy(&d, p + n - 2, 2);
	return c | (uint64_t)d << (8 * (n - 2));
}

/* Stores a text; only the words that it needs. */
static void put_text(_Atomic uint64_t *to, const char *p, size_t len)
{
	uint64_t w;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		atomic_store_explicit(to++, w, memory_order_release);
	}
	if (len > 0)
		atomic_store_explicit(to, last_word(p, len), memory_order_release);
}

/* Loads a text of at most `max` bytes; NUL-terminates it. */
static void get_text(char *to, const _Atomic uint64_t *from, size_t len, size_t max)
{
	if (len > max)
		len = max;
	for (size_t i = 0; i < len; i += 8) {
		uint64_t w = atomic_load_explicit(from++, memory_order_acquire);

		memcpy(to + i, &w, len - i < 8 ? len - i : 8);
	}
	to[len] = '\0';
}

static size_t cut(size_t len, size_t max)
{
	return len < max ? len : max;
}

void shm_row_begin(struct shm_row *r, struct slice id, struct slice method, struct slice path,
		   const char *client, uint64_t since_ns)
{
	size_t id_len = cut(id.len, SHM_ROW_ID);
	size_t method_len = cut(method.len, SHM_ROW_METHOD);
	size_t path_len = cut(path.len, SHM_ROW_PATH);
	size_t client_len = strnlen(client, SHM_ROW_CLIENT - 1);
	uint32_t odd = shm_get(&r->seq) | 1;

	shm_set(&r->seq, odd);
	atomic_store_explicit(&r->since_ns, since_ns, memory_order_release);
	put_text(r->id, id.p, id_len);
	put_text(r->method, method.p, method_len);
	put_text(r->path, path.p, path_len);
	put_text(r->client, client, client_len);
	if (client_len % 8 == 0) /* else its last word ends it */
		atomic_store_explicit(&r->client[client_len / 8], 0, memory_order_release);
	atomic_store_explicit(&r->about, about(SHM_ROW_READING, id_len, method_len, path_len),
			      memory_order_release);
	atomic_store_explicit(&r->seq, odd + 1, memory_order_release);
}

void shm_row_state(struct shm_row *r, enum shm_row_state st)
{
	uint32_t rest = shm_get(&r->about) & ~(uint32_t)0xff;

	atomic_store_explicit(&r->about, rest | (uint32_t)st, memory_order_release);
}

void shm_row_end(struct shm_row *r)
{
	if (shm_get(&r->about) != 0) /* recovery ends all rows: it writes to none that is free */
		atomic_store_explicit(&r->about, 0, memory_order_release);
}
_Static_assert(SHM_ROW_FREE == 0, "a fresh row is free");

static void copy(const struct shm_row *r, uint32_t how, struct shm_row_view *ret)
{
	ret->state = (enum shm_row_state)(how & 0xff);
	ret->since_ns = atomic_load_explicit(&r->since_ns, memory_order_acquire);
	get_text(ret->id, r->id, how >> 8 & 0xff, SHM_ROW_ID);
	get_text(ret->method, r->method, how >> 16 & 0xff, SHM_ROW_METHOD);
	get_text(ret->path, r->path, how >> 24, SHM_ROW_PATH);
	get_text(ret->client, r->client, SHM_ROW_CLIENT - 1, SHM_ROW_CLIENT - 1);
}
_Static_assert(sizeof(((struct shm_row_view *)0)->id) == SHM_ROW_ID + 1 &&
	       sizeof(((struct shm_row_view *)0)->method) == SHM_ROW_METHOD + 1 &&
	       sizeof(((struct shm_row_view *)0)->client) >= SHM_ROW_CLIENT &&
	       sizeof(((struct shm_row_view *)0)->path) == SHM_ROW_PATH + 1, "views hold rows");

bool shm_row_read(const struct shm_row *r, struct shm_row_view *ret)
{
	for (int i = 0; i < READ_TRIES; i++) {
		uint32_t before = atomic_load_explicit(&r->seq, memory_order_acquire);
		uint32_t how = atomic_load_explicit(&r->about, memory_order_acquire);
		uint32_t state = how & 0xff;

		if (before & 1)
			continue;
		if (state == SHM_ROW_FREE || state >= SHM_ROW_STATES)
			return false;
		copy(r, how, ret);
		if (shm_get(&r->seq) == before)
			return true;
	}
	return false;
}

bool shm_row_read_marked(const struct shm_row *r, struct shm_row_mark mark,
			 struct shm_row_view *ret)
{
	if ((mark.about & 0xff) == SHM_ROW_FREE || shm_get(&r->seq) != mark.seq)
		return false;
	copy(r, mark.about, ret);
	return true;
}
