/* Threads that wait for work without spinning. */
#ifndef THREADS_H
#define THREADS_H

#include <stddef.h>

typedef struct Pool Pool;

/* A pool of so many threads, the caller's included, or NULL if there is not enough memory. It starts no thread yet. */
Pool *pool_new(size_t threads);

/* In a forked child, makes the pool anew: it has the memory of the parent's, but none of its threads. Call it before a run,
 * one thread at a time: two that renew a pool at once would use each other's half-made locks. */
void pool_renew(Pool *pool);

/* Ends the threads. Nobody may be using the pool. */
void pool_free(Pool *pool);

/* Calls work(context, index, worker) for every index below count, in any order, in the caller's thread and those of the
 * pool, and returns when all have returned. worker is below the number of threads, and no two calls with the same one run
 * at the same time. If the pool is NULL or busy, or threads cannot be started, the caller's thread does it all. */
void pool_run(Pool *pool, size_t count, void (*work)(void *context, size_t index, size_t worker), void *context);

/* How many threads the pool may use: 1 for NULL. */
size_t pool_threads(const Pool *pool);

#endif
