#define _POSIX_C_SOURCE 200809L /* signals and threads beside C11 */

#include "threads.h"

#include <stdlib.h>

static void run_alone(size_t count, void (*work)(void *, size_t, size_t), void *context) {
    for (size_t index = 0; index < count; index++)
        work(context, index, 0);
}

#ifdef _WIN32

struct Pool {
    size_t threads;
};

Pool *pool_new(size_t threads) {
    (void)threads;
    Pool *pool = malloc(sizeof *pool);
    if (pool)
        pool->threads = 1;
    return pool;
}

void pool_renew(Pool *pool) { (void)pool; }

void pool_free(Pool *pool) { free(pool); }

void pool_run(Pool *pool, size_t count, void (*work)(void *, size_t, size_t), void *context) {
    (void)pool;
    run_alone(count, work, context);
}

size_t pool_threads(const Pool *pool) {
    (void)pool;
    return 1;
}

#else

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

/* One piece of work at a time. Workers sleep until there is one, join it and take the next index until there is none. The
 * caller does the same, then closes the work and waits for those who have joined: one that wakes late delays nobody. */
struct Pool {
    size_t threads;
    size_t started; /* besides the caller's */
    pid_t process;  /* a forked child has the memory of a pool, but none of its threads */
    pthread_t *handles;
    pthread_mutex_t in_use; /* held by the caller whose work it is */
    pthread_mutex_t lock;   /* protects what follows */
    pthread_cond_t begin, end;
    size_t generation; /* counts pieces of work */
    size_t joined;     /* workers at this one */
    int open;          /* whether workers may join it */
    int closing;
    size_t count;
    void (*work)(void *, size_t, size_t);
    void *context;
    atomic_size_t next;
};

typedef struct {
    Pool *pool;
    size_t worker;
    size_t generation;
} Worker;

static void take(Pool *pool, size_t worker) {
    size_t index;
    while ((index = atomic_fetch_add(&pool->next, 1)) < pool->count)
        pool->work(pool->context, index, worker);
}

static void *live(void *argument) {
    Worker *worker = argument;
    Pool *pool = worker->pool;
    size_t number = worker->worker, seen = worker->generation;
    free(worker);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->generation == seen && !pool->closing)
            pthread_cond_wait(&pool->begin, &pool->lock);
        if (pool->closing)
            break;
        seen = pool->generation;
        if (!pool->open)
            continue;
        pool->joined++;
        pthread_mutex_unlock(&pool->lock);
        take(pool, number);
        pthread_mutex_lock(&pool->lock);
        if (--pool->joined == 0)
            pthread_cond_signal(&pool->end);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void set_up(Pool *pool) {
    pool->process = getpid();
    pool->started = 0;
    pool->generation = 0;
    pool->joined = 0;
    pool->open = 0;
    pool->closing = 0;
    pthread_mutex_init(&pool->in_use, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->begin, NULL);
    pthread_cond_init(&pool->end, NULL);
}

Pool *pool_new(size_t threads) {
    Pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->threads = threads ? threads : 1;
    pool->handles = calloc(pool->threads, sizeof *pool->handles);
    if (!pool->handles) {
        free(pool);
        return NULL;
    }
    set_up(pool);
    return pool;
}

void pool_renew(Pool *pool) {
    if (pool && pool->process != getpid())
        set_up(pool); /* the locks may be held by threads that do not exist here */
}

size_t pool_threads(const Pool *pool) { return pool ? pool->threads : 1; }

/* Starts the threads that are missing. With signals blocked: they are for the program's own threads. */
static void start(Pool *pool) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started + 1 < pool->threads) {
        Worker *worker = malloc(sizeof *worker);
        if (!worker)
            break;
        *worker = (Worker){pool, pool->started + 1, pool->generation};
        if (pthread_create(&pool->handles[pool->started], NULL, live, worker)) {
            free(worker);
            break;
        }
        pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void pool_run(Pool *pool, size_t count, void (*work)(void *, size_t, size_t), void *context) {
    if (!pool || pool->threads < 2 || count < 2) {
        run_alone(count, work, context);
        return;
    }
    if (pthread_mutex_trylock(&pool->in_use)) {
        run_alone(count, work, context);
        return;
    }
    start(pool);
    pthread_mutex_lock(&pool->lock);
    pool->count = count;
    pool->work = work;
    pool->context = context;
    atomic_store(&pool->next, 0);
    pool->open = 1;
    pool->generation++;
    pthread_cond_broadcast(&pool->begin);
    pthread_mutex_unlock(&pool->lock);
    take(pool, 0);
    pthread_mutex_lock(&pool->lock);
    pool->open = 0;
    while (pool->joined)
        pthread_cond_wait(&pool->end, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_unlock(&pool->in_use);
}

void pool_free(Pool *pool) {
    if (!pool)
        return;
    if (pool->process == getpid()) {
        pthread_mutex_lock(&pool->lock);
        pool->closing = 1;
        pthread_cond_broadcast(&pool->begin);
        pthread_mutex_unlock(&pool->lock);
        for (size_t index = 0; index < pool->started; index++)
            pthread_join(pool->handles[index], NULL);
        pthread_mutex_destroy(&pool->in_use);
        pthread_mutex_destroy(&pool->lock);
        pthread_cond_destroy(&pool->begin);
        pthread_cond_destroy(&pool->end);
    }
    free(pool->handles);
    free(pool);
}

#endif
