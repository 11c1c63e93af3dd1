/* Work shared out over threads: one pool for products, kernels and random bits.
 *
 * A job is a function and a number of tasks. What a task computes depends on its number alone, never
 * on who takes it. The caller takes tasks like everybody else, so a thread that another process keeps
 * from running costs no more than the task it has in hand. Idle threads watch for the next job for a
 * moment, as the next instruction of a plan is near, and then sleep. One job runs at a time: who
 * finds the pool taken does the tasks alone.
 */

#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { MOST_THREADS = 64, MEMORY = 1 << 19, COMMON = 1 << 21 };

/* own: MEMORY bytes of scratch that no other task has meanwhile; common: COMMON bytes that all tasks
 * of the job have. */
typedef void (*Task)(const void *context, ptrdiff_t task, void *own, void *common);

static int (*threads_wanted)(void); /* the BLAS's, so that one setting governs both */

enum { MOST_TASKS = 0xffff };

/* Memory for `size` bytes, with pages of 2 MB as far as it fills them by half: the addresses of few
 * large pages are found faster than those of many small ones. NULL where there is none. */
static void *large_memory(size_t size)
{
    enum { LARGE = 1 << 21 };
    size_t pages = (size + LARGE / 2) / LARGE;
    void *memory;
    if (posix_memalign(&memory, pages ? LARGE : 64, size > pages * LARGE ? size : pages * LARGE))
        return NULL;
#ifdef MADV_HUGEPAGE
    if (pages)
        madvise(memory, pages * LARGE, MADV_HUGEPAGE);
#endif
    return memory;
}

/* A ticket: the number of the job, and the tasks that nobody has taken yet, from first to end. */
static uint64_t ticket_of(uint64_t job, uint64_t first, uint64_t end)
{
    return job << 32 | first << 16 | end;
}
static uint64_t job_of(uint64_t ticket) { return ticket >> 32; }
static uint64_t first_of(uint64_t ticket) { return ticket >> 16 & MOST_TASKS; }
static uint64_t end_of(uint64_t ticket) { return ticket & MOST_TASKS; }

static struct {
    pthread_mutex_t taken;  /* held while a job runs */
    pthread_mutex_t lock;   /* of those who fall asleep and those who wake them */
    pthread_cond_t called;
    Task task;
    const void *context;
    uint64_t ticket;
    ptrdiff_t done;         /* tasks */
    int sleepers, threads, allowed; /* allowed: how many may take tasks of this job */
    void *memory[MOST_THREADS], *common;
} pool = {.taken = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER,
          .called = PTHREAD_COND_INITIALIZER};

static inline void breathe(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* For the i-th time, for another thread that is at work. */
static void wait_a_moment(int i)
{
    if (i < 10000)
        breathe();
    else
        sched_yield();
}

static int idle(uint64_t ticket, int who)
{
    return first_of(ticket) == end_of(ticket) ||
           who >= __atomic_load_n(&pool.allowed, __ATOMIC_RELAXED);
}

/* Tasks of the job that has this number, until none is left. The caller takes them from the first
 * on and others from the last back, so that each comes upon the memory it had before. */
static void take_tasks(uint64_t job, int who)
{
    uint64_t seen = __atomic_load_n(&pool.ticket, __ATOMIC_ACQUIRE);
    for (;;) {
        uint64_t first = first_of(seen), end = end_of(seen);
        if (job_of(seen) != job || first == end)
            return;
        uint64_t rest = who ? ticket_of(job, first, end - 1) : ticket_of(job, first + 1, end);
        if (!__atomic_compare_exchange_n(&pool.ticket, &seen, rest, 0, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
            continue;
        /* while one task is not done, the job stays */
        pool.task(pool.context, (ptrdiff_t)(who ? end - 1 : first), pool.memory[who], pool.common);
        __atomic_fetch_add(&pool.done, 1, __ATOMIC_RELEASE);
        seen = __atomic_load_n(&pool.ticket, __ATOMIC_ACQUIRE);
    }
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *work_on(void *argument)
{
    enum { WATCH = 200000 }; /* ns */
    int who = (int)(intptr_t)argument;
    for (;;) {
        uint64_t ticket;
        int64_t until = nanoseconds() + WATCH;
        for (int i = 1; idle(ticket = __atomic_load_n(&pool.ticket, __ATOMIC_ACQUIRE), who); i++) {
            breathe();
            if (i % 64 || nanoseconds() < until)
                continue;
            pthread_mutex_lock(&pool.lock);
            __atomic_fetch_add(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
            while (idle(__atomic_load_n(&pool.ticket, __ATOMIC_SEQ_CST), who))
                pthread_cond_wait(&pool.called, &pool.lock);
            __atomic_fetch_sub(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
            pthread_mutex_unlock(&pool.lock);
        }
        take_tasks(job_of(ticket), who);
    }
    return NULL;
}

/* A forked child has none of its parent's threads, and waits for none of them. */
static void forget_threads(void)
{
    pthread_mutex_init(&pool.taken, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.called, NULL);
    pool.ticket = ticket_of(job_of(pool.ticket), 0, 0);
    pool.sleepers = pool.threads = 0;
}

/* Memory for n threads, the caller the first, and threads as far as there are none; how many there
 * are then, 0 without memory for the caller. The pool is taken. */
static int start_threads(int n)
{
    static int prepared;
    if (!pool.common && !(pool.common = large_memory(COMMON)))
        return 0;
    for (int who = 0; who < n; who++) {
        pthread_t thread;
        if (!pool.memory[who] && posix_memalign(&pool.memory[who], 64, MEMORY)) {
            pool.memory[who] = NULL;
            return who;
        }
        if (who <= pool.threads)
            continue;
        if (!prepared) {
            pthread_atfork(NULL, NULL, forget_threads);
            prepared = 1;
        }
        if (pthread_create(&thread, NULL, work_on, (void *)(intptr_t)who))
            return who;
        pthread_detach(thread);
        pool.threads = who;
    }
    return n;
}

/* How many threads may run. */
static int thread_count(void)
{
    int n = threads_wanted ? threads_wanted() : 1;
    return n < 1 ? 1 : n > MOST_THREADS ? MOST_THREADS : n;
}

/* Do all tasks of a job; 0, and nothing done, where memory is lacking. */
static int share(Task task, const void *context, ptrdiff_t tasks)
{
    void *memory;
    if (pthread_mutex_trylock(&pool.taken) == 0) {
        int n = tasks <= MOST_TASKS ? thread_count() : 1;
        n = start_threads(n < tasks ? n : (int)tasks);
        if (n > 1) {
            uint64_t job = (job_of(pool.ticket) + 1) & UINT32_MAX;
            pool.task = task, pool.context = context, pool.done = 0;
            __atomic_store_n(&pool.allowed, n, __ATOMIC_RELAXED);
            __atomic_store_n(&pool.ticket, ticket_of(job, 0, (uint64_t)tasks), __ATOMIC_SEQ_CST);
            if (__atomic_load_n(&pool.sleepers, __ATOMIC_SEQ_CST)) {
                pthread_mutex_lock(&pool.lock);
                pthread_cond_broadcast(&pool.called);
                pthread_mutex_unlock(&pool.lock);
            }
            take_tasks(job, 0);
            for (int i = 0; __atomic_load_n(&pool.done, __ATOMIC_ACQUIRE) < tasks; i++)
                wait_a_moment(i);
        } else if (n == 1) {
            for (ptrdiff_t i = 0; i < tasks; i++)
                task(context, i, pool.memory[0], pool.common);
        }
        pthread_mutex_unlock(&pool.taken);
        return n > 0;
    }
    if (posix_memalign(&memory, 64, MEMORY + COMMON))
        return 0;
    for (ptrdiff_t i = 0; i < tasks; i++)
        task(context, i, memory, (char *)memory + MEMORY);
    free(memory);
    return 1;
}
