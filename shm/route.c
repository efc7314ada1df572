/* SPDX-License-Identifier: MIT */
/*
 * Directory of routes: names of metric labels. Written by the master before the workers of a
 * generation are forked. An entry keeps its name for the life of the segment, since the counts
 * under its number go on; a route that comes back after a reload finds its old number.
 */
#include "shm/shm.h"

#include <string.h>

/* The name as it is kept: cut, and filled up with zeros. */
static void make_name(char out[SHM_ROUTE_NAME_MAX], const char *name)
{
	memset(out, 0, SHM_ROUTE_NAME_MAX);
	memcpy(out, name, strnlen(name, SHM_ROUTE_NAME_MAX - 1));
}

/* Where the name is; else ret_free (if wanted) is the first entry that is free, 0 if none is. */
static uint32_t find(const struct shm *s, const char kept[SHM_ROUTE_NAME_MAX], uint32_t *ret_free,
		     bool *ret_found)
{
	*ret_free = 0;
	*ret_found = false;
	for (uint32_t i = 0; i < s->geo.routes; i++) {
		const struct shm_route *e = &s->routes[i];

		if (atomic_load_explicit(&e->first_generation, memory_order_acquire) == 0) {
			*ret_free = i;
			break; /* entries are taken from the front */
		}
		if (memcmp(e->name, kept, SHM_ROUTE_NAME_MAX) == 0) {
			*ret_found = true;
			return i;
		}
	}
	return 0;
}

uint32_t shm_route_intern(struct shm *s, const char *name, uint32_t generation)
{
	char kept[SHM_ROUTE_NAME_MAX];
	uint32_t at, i;
	bool found;

	make_name(kept, name);
	i = find(s, kept, &at, &found);
	if (!found) {
		if (at == 0 && shm_get(&s->routes[0].first_generation) != 0)
			return 0;
		i = at;
		memcpy(s->routes[i].name, kept, SHM_ROUTE_NAME_MAX);
	}
	shm_set(&s->routes[i].last_generation, generation);
	if (!found)
		atomic_store_explicit(&s->routes[i].first_generation, generation,
				      memory_order_release);
	return i;
}

uint32_t shm_route_find(const struct shm *s, const char *name)
{
	char kept[SHM_ROUTE_NAME_MAX];
	uint32_t at;
	bool found;

	make_name(kept, name);
	return find(s, kept, &at, &found);
}

bool shm_route_name(const struct shm *s, uint32_t i, char ret[SHM_ROUTE_NAME_MAX])
{
	if (i >= s->geo.routes ||
	    atomic_load_explicit(&s->routes[i].first_generation, memory_order_acquire) == 0)
		return false;
	memcpy(ret, s->routes[i].name, SHM_ROUTE_NAME_MAX);
	ret[SHM_ROUTE_NAME_MAX - 1] = '\0';
	return true;
}
