/* Several callers use one pool at once, in a process and in children forked while it is busy. Says "done" if every piece of
 * work was done exactly once. Arguments: how many children, and how often each caller calls. */
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLERS = 8, PIECES = 50, THREADS = 3 };

static int forks, runs;
static Pool *pool;
static pthread_mutex_t interpreter = PTHREAD_MUTEX_INITIALIZER; /* as module.c: held when a run begins */

typedef struct {
    int counts[PIECES];     /* each touched by one thread at a time */
    int by_worker[THREADS]; /* as room that belongs to a worker */
} Work;

static void count(void *context, size_t index, size_t worker) {
    Work *work = context;
    work->counts[index]++;
    work->by_worker[worker]++;
}

static void *call(void *failed) {
    for (int run = 0; run < runs; run++) {
        Work work;
        int total = 0;
        memset(&work, 0, sizeof work);
        pthread_mutex_lock(&interpreter);
        pool_renew(pool);
        pthread_mutex_unlock(&interpreter);
        pool_run(pool, PIECES, count, &work);
        for (int i = 0; i < PIECES; i++)
            if (work.counts[i] != 1)
                atomic_store((atomic_int *)failed, 1);
        for (int i = 0; i < THREADS; i++)
            total += work.by_worker[i];
        if (total != PIECES)
            atomic_store((atomic_int *)failed, 1);
    }
    return NULL;
}

static int call_from_many(void) {
    pthread_t callers[CALLERS];
    static atomic_int failed;
    for (int i = 0; i < CALLERS; i++)
        if (pthread_create(&callers[i], NULL, call, &failed))
            exit(3);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(callers[i], NULL);
    return atomic_load(&failed);
}

static void *fork_some(void *failed) {
    for (int i = 0; i < forks; i++) {
        int status;
        pthread_mutex_lock(&interpreter);
        pid_t child = fork();
        pthread_mutex_unlock(&interpreter);
        if (!child) {
            alarm(60); /* rather than outlive the test */
            int result = call_from_many();
            pool_free(pool);
            _exit(result);
        }
        if (waitpid(child, &status, 0) != child || status)
            atomic_store((atomic_int *)failed, 1);
    }
    return NULL;
}

int main(int count_of_arguments, char **arguments) {
    static atomic_int failed;
    pthread_t forking;
    if (count_of_arguments != 3)
        return 2;
    forks = atoi(arguments[1]);
    runs = atoi(arguments[2]);
    alarm(100);
    pool = pool_new(THREADS);
    if (!pool || call_from_many())
        return 1;
    if (pthread_create(&forking, NULL, fork_some, &failed))
        return 3;
    int result = call_from_many();
    pthread_join(forking, NULL);
    pool_free(pool);
    if (result || atomic_load(&failed))
        return 1;
    puts("done");
    return 0;
}
