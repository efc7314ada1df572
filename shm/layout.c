/* SPDX-License-Identifier: MIT */
/*
 * Where things lie in the segment, and what that costs. Pure arithmetic on the geometry: each
 * process computes it for itself and never reads an offset or a size back from the segment.
 */
#include "shm/cache_priv.h"
#include "shm/sem_priv.h"
#include "shm/shm_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/clock.h"
#include "shm/rate_priv.h"

#define ROWS_MAX 1024u       /* per slot; requests above that have no row */
#define SERIES 1024u
#define ERRORS 256u
#define RING_BYTES (128u * 1024)
#define EXITS 64u
#define EVENTS 256u
#define PERMITS 8192u

#define SLOTS_LIMIT (1u << 16)   /* limits that keep all sizes below 2^63 */
#define ROUTES_LIMIT (1u << 24)  /* what a series key holds */
#define COUNT_LIMIT (1u << 20)
#define KEYS_LIMIT (1u << 28)
#define RING_LIMIT (1u << 30)

static const struct section_kind {
	const char *name;
	uint32_t version;
} kinds[SHM_SEC_COUNT] = {
	[SHM_SEC_HEADER] = {"header", 1},      [SHM_SEC_INSTANCE] = {"instance", 1},
	[SHM_SEC_SLOTS] = {"slots", 1},        [SHM_SEC_ROWS] = {"rows", 1},
	[SHM_SEC_HISTS] = {"histograms", 1},   [SHM_SEC_SERIES] = {"series", 1},
	[SHM_SEC_ROUTES] = {"routes", 1},      [SHM_SEC_RINGS] = {"rings", 1},
	[SHM_SEC_RING_DATA] = {"ring_data", 1}, [SHM_SEC_EXITS] = {"exits", 1},
	[SHM_SEC_EVENTS] = {"events", 1},      [SHM_SEC_MODULE] = {"module_metrics", 1},
	[SHM_SEC_MODULE_CELLS] = {"module_values", 1},
	[SHM_SEC_MODULE_HISTS] = {"module_histograms", 1},
	[SHM_SEC_ERRORS] = {"errors", 1},
	[SHM_SEC_SEMS] = {"semaphores", 1},    [SHM_SEC_SEM_BITS] = {"semaphore_bits", 1},
	[SHM_SEC_SEM_CELLS] = {"semaphore_waits", 1},
	[SHM_SEC_SEM_STATS] = {"semaphore_counts", 1},
	[SHM_SEC_PERMITS] = {"permits", 1},    [SHM_SEC_PERMIT_HINTS] = {"permit_holders", 1},
	[SHM_SEC_DUMPS] = {"dumps", 1},       [SHM_SEC_RATES] = {"rates", 1},
	[SHM_SEC_RATE_WORDS] = {"rate_words", 1},
	[SHM_SEC_RATE_SLOTS] = {"rate_counts", 1},
	[SHM_SEC_RATE_SETS] = {"rate_keys", 1},
	[SHM_SEC_CACHE] = {"cache", 1},        [SHM_SEC_CACHE_SEGS] = {"cache_segments", 1},
	[SHM_SEC_CACHE_SLOTS] = {"cache_pins", 1}, [SHM_SEC_CACHE_INDEX] = {"cache_index", 1},
	[SHM_SEC_CACHE_GHOSTS] = {"cache_ghosts", 1},
	[SHM_SEC_CACHE_BANS] = {"cache_invalidations", 1},
	[SHM_SEC_CACHE_LEASES] = {"cache_leases", 1}, [SHM_SEC_CACHE_DATA] = {"cache_data", 1},
};

void shm_geometry_for(struct shm_geometry *g, uint32_t workers_max, uint32_t connections,
		      uint32_t metric_routes, uint32_t module_metrics, uint32_t module_histograms)
{
	*g = (struct shm_geometry){
		/* Two generations of workers, the keeper, and two to spare. */
		.slots = 2 * workers_max + 3,
		.rows = connections < ROWS_MAX ? connections : ROWS_MAX,
		.routes = metric_routes + 1,
		.series = SERIES,
		.errors = ERRORS,
		.module_metrics = module_metrics,
		.module_hists = module_histograms,
		.ring_bytes = RING_BYTES,
		.exits = EXITS,
		.events = EVENTS,
		.sems = SHM_SEMS,
		.permits = PERMITS,
	};
	if (g->rows == 0)
		g->rows = 1;
}

static bool in_range(uint32_t n, uint32_t min, uint32_t max)
{
	return n >= min && n <= max;
}

static bool cache_geometry_ok(const struct shm_geometry *g)
{
	if (g->cache_segs == 0)
		return g->cache_buckets == 0 && g->cache_ghosts == 0 && g->cache_leases == 0;
	return g->cache_segs <= CACHE_SEGS_MAX && g->cache_buckets > 0 &&
	       g->cache_leases >= CACHE_LEASE_WAYS && g->cache_leases <= COUNT_LIMIT &&
	       g->cache_seg_bytes >= SHM_LINE && g->cache_seg_bytes <= CACHE_SEG_MAX &&
	       g->cache_seg_bytes % CACHE_UNIT == 0;
}

static bool geometry_ok(const struct shm_geometry *g)
{
	return in_range(g->slots, 1, SLOTS_LIMIT) && in_range(g->rows, 1, COUNT_LIMIT) &&
	       in_range(g->routes, 1, ROUTES_LIMIT) &&
	       in_range(g->series, SHM_SERIES_SPARE + 1, COUNT_LIMIT) &&
	       in_range(g->errors, SHM_ERRORS_SPARE + 1, COUNT_LIMIT) &&
	       g->module_metrics <= COUNT_LIMIT && g->module_hists <= COUNT_LIMIT &&
	       g->rate_keys <= KEYS_LIMIT && cache_geometry_ok(g) &&
	       in_range(g->ring_bytes, SHM_LINE, RING_LIMIT) &&
	       (g->ring_bytes & (g->ring_bytes - 1)) == 0 && in_range(g->exits, 1, COUNT_LIMIT) &&
	       in_range(g->events, 1, COUNT_LIMIT) && g->sems <= SHM_SEMS &&
	       g->permits <= COUNT_LIMIT;
}

static uint64_t page_up(uint64_t n)
{
	return (n + SHM_PAGE - 1) & ~(uint64_t)(SHM_PAGE - 1);
}

size_t shm_layout(const struct shm_geometry *g, struct shm_section sec[SHM_SEC_COUNT])
{
	const uint64_t n = g->slots;
	const struct {
		size_t elem_size;
		uint64_t count;
	} want[SHM_SEC_COUNT] = {
		[SHM_SEC_HEADER] = {SHM_PAGE, 1},
		[SHM_SEC_INSTANCE] = {sizeof(struct shm_instance), 1},
		[SHM_SEC_SLOTS] = {sizeof(struct shm_slot), n},
		[SHM_SEC_ROWS] = {sizeof(struct shm_row), n * g->rows},
		[SHM_SEC_HISTS] = {sizeof(struct shm_hist), n * g->routes},
		[SHM_SEC_SERIES] = {sizeof(struct shm_series), n * g->series},
		[SHM_SEC_ERRORS] = {sizeof(struct shm_series), n * g->errors},
		[SHM_SEC_ROUTES] = {sizeof(struct shm_route), g->routes},
		[SHM_SEC_RINGS] = {sizeof(struct shm_ring), n},
		[SHM_SEC_RING_DATA] = {g->ring_bytes, n},
		[SHM_SEC_EXITS] = {SHM_EXIT_WORDS * 8, g->exits},
		[SHM_SEC_EVENTS] = {SHM_EVENT_WORDS * 8, g->events},
		[SHM_SEC_MODULE] = {sizeof(struct shm_module_metric),
				    (uint64_t)g->module_metrics + g->module_hists},
		[SHM_SEC_MODULE_CELLS] = {8, n * shm_module_stride(g)},
		[SHM_SEC_MODULE_HISTS] = {sizeof(struct shm_hist), n * g->module_hists},
		[SHM_SEC_DUMPS] = {sizeof(struct shm_dump), n},
		[SHM_SEC_SEMS] = {sizeof(struct shm_sem), g->sems},
		[SHM_SEC_SEM_BITS] = {8, (uint64_t)g->sems * shm_sem_bit_words(g)},
		[SHM_SEC_SEM_CELLS] = {sizeof(struct shm_sem_cell), n * g->sems},
		[SHM_SEC_SEM_STATS] = {sizeof(struct shm_sem_stats), n * g->sems},
		[SHM_SEC_PERMITS] = {4, g->permits},
		[SHM_SEC_PERMIT_HINTS] = {8, g->permits},
		[SHM_SEC_RATES] = {sizeof(struct shm_rate), SHM_RATES},
		[SHM_SEC_RATE_WORDS] = {sizeof(struct shm_rate_word), SHM_RATES},
		[SHM_SEC_RATE_SLOTS] = {sizeof(struct shm_rate_slot), n},
		[SHM_SEC_RATE_SETS] = {sizeof(struct shm_rate_set), rate_sets_of(g)},
		[SHM_SEC_CACHE] = {sizeof(struct cache_head), g->cache_segs > 0},
		[SHM_SEC_CACHE_SEGS] = {CACHE_SEG_BYTES, g->cache_segs},
		[SHM_SEC_CACHE_SLOTS] = {sizeof(struct cache_slot), g->cache_segs > 0 ? n : 0},
		[SHM_SEC_CACHE_INDEX] = {sizeof(struct cache_bucket), g->cache_buckets},
		[SHM_SEC_CACHE_GHOSTS] = {4, g->cache_ghosts},
		[SHM_SEC_CACHE_BANS] = {sizeof(struct cache_ban),
					g->cache_segs > 0 ? CACHE_BANS : 0},
		[SHM_SEC_CACHE_LEASES] = {8, g->cache_leases * (1 + (n + 63) / 64)},
		[SHM_SEC_CACHE_DATA] = {g->cache_seg_bytes, g->cache_segs},
	};
	uint64_t at = 0;

	if (!geometry_ok(g))
		return 0;
	for (uint32_t i = 0; i < SHM_SEC_COUNT; i++) {
		uint64_t size = page_up(want[i].elem_size * want[i].count);

		if (want[i].count > UINT32_MAX)
			return 0;
		/* Whole pages: what different processes write shares no line, nor two lines. */
		sec[i] = (struct shm_section){
			.id = i,
			.version = kinds[i].version,
			.offset = at,
			.size = size,
			.elem_size = (uint32_t)want[i].elem_size,
			.elem_count = (uint32_t)want[i].count,
		};
		at += size;
	}
	return at;
}

void shm_place(struct shm *s)
{
	struct shm_section sec[SHM_SEC_COUNT];
	void *at[SHM_SEC_COUNT];

	CHECK(shm_layout(&s->geo, sec) == s->size);
	for (uint32_t i = 0; i < SHM_SEC_COUNT; i++)
		at[i] = s->base + sec[i].offset;
	s->head = at[SHM_SEC_HEADER];
	s->inst = at[SHM_SEC_INSTANCE];
	s->slots = at[SHM_SEC_SLOTS];
	s->rows = at[SHM_SEC_ROWS];
	s->hists = at[SHM_SEC_HISTS];
	s->series = at[SHM_SEC_SERIES];
	s->errors = at[SHM_SEC_ERRORS];
	s->routes = at[SHM_SEC_ROUTES];
	s->rings = at[SHM_SEC_RINGS];
	s->ring_data = at[SHM_SEC_RING_DATA];
	s->exits = at[SHM_SEC_EXITS];
	s->events = at[SHM_SEC_EVENTS];
	s->module = at[SHM_SEC_MODULE];
	s->module_cells = at[SHM_SEC_MODULE_CELLS];
	s->module_hists = at[SHM_SEC_MODULE_HISTS];
	s->dumps = at[SHM_SEC_DUMPS];
	s->sems = at[SHM_SEC_SEMS];
	s->sem_bits = at[SHM_SEC_SEM_BITS];
	s->sem_cells = at[SHM_SEC_SEM_CELLS];
	s->sem_stats = at[SHM_SEC_SEM_STATS];
	s->permits = at[SHM_SEC_PERMITS];
	s->permit_hints = at[SHM_SEC_PERMIT_HINTS];
	s->rates = at[SHM_SEC_RATES];
	s->rate_words = at[SHM_SEC_RATE_WORDS];
	s->rate_slots = at[SHM_SEC_RATE_SLOTS];
	s->rate_sets = at[SHM_SEC_RATE_SETS];
	s->cache_head = at[SHM_SEC_CACHE];
	s->cache_segs = at[SHM_SEC_CACHE_SEGS];
	s->cache_slots = at[SHM_SEC_CACHE_SLOTS];
	s->cache_index = at[SHM_SEC_CACHE_INDEX];
	s->cache_ghosts = at[SHM_SEC_CACHE_GHOSTS];
	s->cache_bans = at[SHM_SEC_CACHE_BANS];
	s->cache_leases = at[SHM_SEC_CACHE_LEASES];
	s->cache_data = at[SHM_SEC_CACHE_DATA];
}

/* May block, until a machine that has just been started has random bytes. */
static void make_hash_key(uint64_t key[2])
{
	ssize_t n;

	do {
		n = getrandom(key, 2 * sizeof(key[0]), 0);
	} while (n < 0 && errno == EINTR);
	CHECK(n == 2 * sizeof(key[0])); /* Linux has it since 3.17, and gives so few bytes whole */
}

void shm_format(struct shm *s)
{
	struct shm_header *h = s->head;

	h->magic = SHM_MAGIC;
	h->layout = SHM_LAYOUT;
	h->sections = SHM_SEC_COUNT;
	h->size = shm_layout(&s->geo, h->section);
	h->created_wall_ns = clock_wall_ns();
	shm_boot_id(h->boot_id);
	/* For people and tools that compare two looks at a segment: zeros would do no harm. */
	(void)!getrandom(h->instance_id, sizeof(h->instance_id), GRND_NONBLOCK);
	make_hash_key(h->hash_key);
	(void)shm_route_intern(s, "other", 1);
}

size_t shm_size_for(const struct shm_geometry *g)
{
	struct shm_section sec[SHM_SEC_COUNT];

	return shm_layout(g, sec);
}

size_t shm_bill(const struct shm_geometry *g, struct shm_bill_line *lines, size_t max)
{
	struct shm_section sec[SHM_SEC_COUNT];
	size_t n = 0;

	if (shm_layout(g, sec) == 0)
		return 0;
	for (; n < SHM_SEC_COUNT && n < max; n++)
		lines[n] = (struct shm_bill_line){kinds[n].name, sec[n].size};
	return n;
}

/* Only where there is or was a process: the rest has never been touched, and looking at it would
 * cost a page fault for each 4 KiB. */
static uint64_t used_rows(const struct shm *s)
{
	uint64_t used = 0;

	for (uint32_t slot = 0; slot < s->geo.slots; slot++) {
		if (shm_get(&s->slots[slot].kind) == SHM_FREE)
			continue;
		for (uint32_t i = 0; i < s->geo.rows; i++)
			used += (shm_get(&shm_row(s, slot, i)->about) & 0xff) != SHM_ROW_FREE;
	}
	return used;
}

static uint64_t used_series(const struct shm *s, const struct shm_series *all, uint32_t n)
{
	uint64_t used = 0;

	for (uint32_t slot = 0; slot < s->geo.slots; slot++) {
		const struct shm_series *series = all + (size_t)slot * n;

		if (shm_get(&s->slots[slot].incarnation) == 0)
			continue;
		for (uint32_t i = 0; i < n; i++)
			used += shm_get(&series[i].key) != 0;
	}
	return used;
}

static uint64_t used_ring_bytes(const struct shm *s)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < s->geo.slots; i++) {
		uint64_t n = shm_get(&s->rings[i].head) - shm_get(&s->rings[i].tail);

		used += n <= s->geo.ring_bytes ? n : s->geo.ring_bytes;
	}
	return used;
}

/* Entries that have been given out of `n` from `first` on. */
static uint64_t used_module(const struct shm *s, uint32_t first, uint32_t n)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < n; i++)
		used += shm_get(&s->module[first + i].first_generation) != 0;
	return used;
}

/* As with routes: a name makes what all slots have for it. Its permits are those set aside. */
static void used_sems(const struct shm *s, uint64_t used[SHM_SEC_COUNT])
{
	uint64_t permits = 0;

	for (uint32_t i = 0; i < s->geo.sems; i++) {
		if (shm_get(&s->sems[i].first_generation) == 0)
			continue;
		used[SHM_SEC_SEMS]++;
		permits += sem_of(s, i).max;
	}
	used[SHM_SEC_SEM_BITS] = used[SHM_SEC_SEMS] * shm_sem_bit_words(&s->geo);
	used[SHM_SEC_SEM_CELLS] = used[SHM_SEC_SEM_STATS] = used[SHM_SEC_SEMS] * s->geo.slots;
	permits = permits < s->geo.permits ? permits : s->geo.permits;
	used[SHM_SEC_PERMITS] = used[SHM_SEC_PERMIT_HINTS] = permits;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void used_cache(const struct shm *s, uint64_t used[SHM_SEC_COUNT])
{
	struct shm_cache_view v;

	if (s->geo.cache_segs == 0)
		return;
	shm_cache_read(s, &v);
	used[SHM_SEC_CACHE] = 1;
	used[SHM_SEC_CACHE_DATA] = v.segments - v.by_state[CACHE_FREE];
	used[SHM_SEC_CACHE_SEGS] = used[SHM_SEC_CACHE_DATA];
	used[SHM_SEC_CACHE_INDEX] = min_u64((v.items + CACHE_WAYS - 1) / CACHE_WAYS,
					    s->geo.cache_buckets);
	used[SHM_SEC_CACHE_SLOTS] = used[SHM_SEC_SLOTS];
}

size_t shm_usage(const struct shm *s, struct shm_usage *lines, size_t max)
{
	struct shm_section sec[SHM_SEC_COUNT];
	uint64_t used[SHM_SEC_COUNT] = {[SHM_SEC_HEADER] = 1, [SHM_SEC_INSTANCE] = 1};
	size_t n = 0;

	CHECK(shm_layout(&s->geo, sec) == s->size);
	for (uint32_t i = 0; i < s->geo.slots; i++)
		used[SHM_SEC_SLOTS] += shm_get(&s->slots[i].kind) != SHM_FREE;
	for (uint32_t i = 0; i < s->geo.routes; i++)
		used[SHM_SEC_ROUTES] += shm_get(&s->routes[i].first_generation) != 0;
	used[SHM_SEC_ROWS] = used_rows(s);
	/* A histogram is in use when a route of that number exists: for every slot. */
	used[SHM_SEC_HISTS] = used[SHM_SEC_ROUTES] * s->geo.slots;
	used[SHM_SEC_SERIES] = used_series(s, s->series, s->geo.series);
	used[SHM_SEC_ERRORS] = used_series(s, s->errors, s->geo.errors);
	used[SHM_SEC_RINGS] = used[SHM_SEC_DUMPS] = used[SHM_SEC_SLOTS];
	used[SHM_SEC_EXITS] = min_u64(shm_get(&s->inst->exit_count), s->geo.exits);
	used[SHM_SEC_EVENTS] = min_u64(shm_get(&s->inst->event_count), s->geo.events);
	/* As with routes: a name makes the cells of all slots. */
	used[SHM_SEC_MODULE_CELLS] = used_module(s, 0, s->geo.module_metrics);
	used[SHM_SEC_MODULE_HISTS] = used_module(s, s->geo.module_metrics, s->geo.module_hists);
	used[SHM_SEC_MODULE] = used[SHM_SEC_MODULE_CELLS] + used[SHM_SEC_MODULE_HISTS];
	used[SHM_SEC_MODULE_CELLS] *= s->geo.slots;
	used[SHM_SEC_MODULE_HISTS] *= s->geo.slots;
	used_sems(s, used);
	used[SHM_SEC_RATES] = used[SHM_SEC_RATE_WORDS] =
		rate_used(s, &used[SHM_SEC_RATE_SETS]);
	used[SHM_SEC_RATE_SLOTS] = used[SHM_SEC_RATES] > 0 ? s->geo.slots : 0;
	used_cache(s, used);
	for (; n < SHM_SEC_COUNT && n < max; n++)
		lines[n] = (struct shm_usage){kinds[n].name, sec[n].size,
					      used[n] * sec[n].elem_size};
	if (n > SHM_SEC_RING_DATA)
		lines[SHM_SEC_RING_DATA].used_bytes = used_ring_bytes(s);
	return n;
}
