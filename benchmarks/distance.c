/* How far apart two CPUs are: the nanoseconds in which a number goes from one to the other and back.
 *
 * A host may run the CPUs of a virtual machine on cores that share a cache, and a moment later on
 * cores that do not. What threads hand each other then takes several times as long.
 */

#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { TRIPS = 1000, TRIES = 8 };

static int ball __attribute__((aligned(128)));

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *answer(void *unused)
{
    for (int i = 0; i < TRIPS * TRIES; i++) {
        while (__atomic_load_n(&ball, __ATOMIC_ACQUIRE) != 1)
            ;
        __atomic_store_n(&ball, 0, __ATOMIC_RELEASE);
    }
    return unused;
}

int main(void)
{
    pthread_t other;
    double least = 1e9;
    if (pthread_create(&other, NULL, answer, NULL))
        return 1;
    for (int i = 0; i < TRIES; i++) {
        double start = now();
        for (int j = 0; j < TRIPS; j++) {
            __atomic_store_n(&ball, 1, __ATOMIC_RELEASE);
            while (__atomic_load_n(&ball, __ATOMIC_ACQUIRE))
                ;
        }
        double taken = (now() - start) / TRIPS;
        least = taken < least ? taken : least;
    }
    pthread_join(other, NULL);
    printf("%.0f\n", least);
    return 0;
}
